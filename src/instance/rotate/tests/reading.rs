//! Reading on across rotations. That no line is lost under load, while the
//! rotator is killed at random, is tested in `tests/log_rotation.rs`.

use super::*;
use crate::instance::rotate::{LogReader, Part};

fn reader(logs: &Logs, lines: Option<u64>) -> LogReader {
    LogReader::open(&logs.path("m.log"), Part::Whole, lines).unwrap().unwrap()
}

fn read_on(reader: &mut LogReader) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let more = reader.read_on().unwrap();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

#[test]
fn whoever_has_read_all_reads_what_is_new_however_much_is_kept() {
    for logs in Logs::each() {
        for keep in [0, 1, 3] {
            let logs = logs.again();
            let written = lines(6 * MAX);
            let mut reader = reader(&logs, Some(10));
            for some in written.chunks(100) {
                logs.append(&text(some));
                // Half of the time with what is to be read still in the log.
                logs.rotate(if some[0].ends_with('x') { keep } else { 50 });
                assert!(read_on(&mut reader) == text(some), "{:?}, keep {keep}, from {}", logs.1, some[0]);
                logs.rotate(keep);
            }
        }
    }
}

#[test]
fn a_rotation_that_was_cut_short_hides_and_doubles_nothing() {
    for logs in Logs::each() {
        let written = lines(2 * MAX);
        logs.append(&text(&written));
        let whole = |when: &str| assert!(read_on(&mut reader(&logs, None)) == text(&written), "{:?} {when}", logs.1);
        let (mut live, rotated) = (logs.live(), logs.rotated());
        let part = live.part(MAX / 8 * 7).unwrap();
        let mut midway = reader(&logs, Some(1500));
        rotated.copy(&live, part).unwrap();
        whole("with a copy");
        rotated.name_copy().unwrap();
        whole("with a copy that has its name");
        live.blank(part, &rotated.note(true)).unwrap();
        whole("when the end of the part is blank");
        live.remove(part, logs.1).unwrap();
        whole("when the part is removed");
        rotated.shift(3).unwrap();
        whole("at the end");
        assert!(read_on(&mut midway) == text(&written[written.len() - 1500..]));
    }
}

#[test]
fn a_log_that_is_emptied_or_made_anew_is_read_from_its_beginning() {
    let logs = Logs::any();
    let mut reader = reader(&logs, None);
    logs.append(b"one\ntwo\n");
    assert_eq!(read_on(&mut reader), b"one\ntwo\n");
    fs::write(logs.path("m.log"), b"three\n").unwrap();
    assert_eq!(read_on(&mut reader), b"three\n");
    fs::remove_file(logs.path("m.log")).unwrap();
    assert_eq!(read_on(&mut reader), b"");
    logs.append(b"four\n");
    assert_eq!(read_on(&mut reader), b"four\n");
}

#[test]
fn whoever_reads_too_slowly_goes_on_with_the_oldest_line_there_is() {
    let logs = Logs::any();
    let written = lines(9 * MAX);
    logs.append(&text(&written[..100]));
    let mut reader = reader(&logs, None);
    assert_eq!(read_on(&mut reader), text(&written[..100]));
    for some in written[100..].chunks(500) {
        logs.append(&text(some));
        logs.rotate(2);
    }
    assert!(read_on(&mut reader) == text(&logs.lines()));
}

#[test]
fn the_last_lines_are_counted_across_parts() {
    let logs = Logs::any();
    let written = lines(3 * MAX);
    logs.append(&text(&written));
    logs.rotate(9);
    logs.append(b"not ended");
    for count in [0, 1, 2, 700, written.len() + 1, written.len() + 2] {
        let mut wanted = text(&written[(written.len() + 1).saturating_sub(count.max(1))..]);
        wanted.extend(if count == 0 { &b""[..] } else { b"not ended" });
        assert!(read_on(&mut reader(&logs, Some(count as u64))) == wanted, "{count}");
    }
}

#[test]
fn the_instance_before_is_found_across_parts_and_without_its_first_lines() {
    let logs = Logs::any();
    let head = |number: u32| format!("herdsman: instance 00000000-0000-4000-8000-{number:012} of spec v1:a starts b\n");
    let previous = || {
        let mut reader = LogReader::open(&logs.path("m.log"), Part::Previous, None).unwrap()?;
        let mut all = Vec::new();
        while let Some(more) = Some(reader.read().unwrap()).filter(|more| !more.is_empty()) {
            all.extend(more);
        }
        Some(String::from_utf8(all).unwrap())
    };
    assert_eq!(previous(), None, "an empty log");
    logs.append(head(1).as_bytes());
    logs.append(b"herdsman: instance of no id\ncut off");
    assert_eq!(previous(), None);
    // Whatever died in the middle of a line.
    logs.append(head(2).as_bytes());
    assert_eq!(previous().unwrap(), format!("{}herdsman: instance of no id\ncut off", head(1)));
    let written = lines(4 * MAX);
    logs.append(&text(&written));
    logs.append(format!("{}last\n", head(3)).as_bytes());
    logs.rotate(9);
    assert!(previous().unwrap() == format!("{}{}", head(2), String::from_utf8(text(&written)).unwrap()));
    logs.rotated().drop_beyond(1).unwrap();
    let kept = logs.lines();
    assert!(previous().unwrap() == String::from_utf8(text(&kept[..kept.len() - 1])).unwrap());
}

#[test]
fn what_was_read_while_the_log_was_rotated_is_read_again() {
    for logs in Logs::each() {
        let written = lines(2 * MAX);
        logs.append(&text(&written));
        let looks = std::cell::Cell::new(0);
        let read = view::consistent(&logs.path("m.log"), None, |view| {
            looks.set(looks.get() + 1);
            if looks.get() == 1 {
                logs.rotate(3);
            }
            view.read(0..view.length())
        });
        assert!(read.unwrap() == text(&written), "{:?}", logs.1);
        assert_eq!(looks.get(), 2);
    }
}
