//! The watcher's logic in a simulated world: what makes it look, when, and
//! what comes of it over hours.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::MutexGuard;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::simulated::{Edit, Fate, Site, World, model, name};
use herdsman::model::{Busy, FailureCause};
use herdsman::plan::{Command, Refusal};
use herdsman::watch::permit::{LONGEST, Permit, Progress};
use herdsman::watch::{Cause, Inbox, Surroundings as _};
use insta::assert_snapshot;

#[test]
fn nothing_happens_but_a_look_at_each_resync() {
    let mut site = Site::new(World::settled([model("a"), model("b")]));
    site.watch(3600);
    assert_eq!(site.passes_for("resync"), 120);
    assert_eq!(site.passes.len(), 121);
    assert_snapshot!(site.story(), @"");
}

#[test]
fn everything_is_created_and_its_readiness_is_noticed_without_a_resync() {
    let mut site = Site::new(World::new([model("a"), model("b").fate("slow")]));
    site.watch(100);
    assert_snapshot!(site.story(), @"   0.000 watch started: create a, create b");
    assert_eq!((site.passes_for("health of a changed"), site.passes_for("health of b changed")), (1, 1));
}

#[test]
fn a_server_that_had_run_for_a_while_is_back_at_once_and_one_that_crashes_again_slows_down() {
    let mut world = World::settled([model("a")]);
    world.advance(3600);
    world.settle();
    let mut site = Site::new(world);
    site.at(5_500, |world| {
        world.machine.fates.insert(name("a"), Fate::of("crashes"));
        world.machine.kill("a", FailureCause::Spec, "segmentation fault");
        None
    });
    site.watch(1800);
    assert_snapshot!(site.story(), @"
       5.500 server of a exited: start a
      15.500 server of a exited: start a
      25.500 server of a exited: start a
      35.500 server of a exited: start a
      51.500 deadline: start a
      83.500 deadline: start a
     147.500 deadline: start a
     275.500 deadline: start a
     531.500 deadline: start a
     831.500 deadline: start a
    1131.500 deadline: start a
    1431.500 deadline: start a
    1731.500 deadline: start a
    ");
}

#[test]
fn rolls_back_a_server_that_never_becomes_ready() {
    let mut site = Site::new(World::settled([model("a")]));
    site.at(1_000, |world| {
        world.define(model("a").fate("hangs"));
        Some(Cause::Files)
    });
    site.watch(2000);
    assert_snapshot!(site.story(), @"
      1.200 files changed: restart a
    601.200 deadline, resync: stop a
    601.200 server of a exited, changes made by the last pass: start a
    ");
}

#[test]
fn a_silent_server_is_killed_when_it_has_been_silent_for_long_enough() {
    let mut site = Site::new(World::settled([model("a").unhealthy_after(10)]));
    site.at(4_000, |world| {
        world.machine.server("a").silent = true;
        None
    });
    site.watch(60);
    assert_snapshot!(site.story(), @"
    16.668 deadline: stop a
    16.668 server of a exited, changes made by the last pass: start a
    ");
}

#[test]
fn a_drain_ends_soon_after_the_last_request() {
    let mut site = Site::new(World::settled([model("a")]));
    site.at(1_000, |world| {
        world.machine.server("a").busy = Busy::Yes(1);
        world.define(model("a").option("ctx_size", "4096"));
        Some(Cause::Files)
    });
    site.at(5_050, |world| {
        world.machine.server("a").busy = Busy::No;
        None
    });
    site.watch(20);
    assert_snapshot!(site.story(), @"
    1.200 files changed: restart a begun
    5.050 draining: restart a
    ");
}

#[test]
fn asks_a_silent_drain_every_eleven_tenths_of_a_second() {
    let mut site = Site::new(World::settled([model("a")]));
    site.at(1_000, |world| {
        world.machine.server("a").busy = Busy::Yes(1);
        world.define(model("a").option("ctx_size", "4096").drain(10));
        Some(Cause::Files)
    });
    site.watch(20);
    assert_snapshot!(site.story(), @"
     1.200 files changed: restart a begun
    11.200 deadline: restart a
    ");
    assert_eq!(site.passes_for("draining"), 9);
}

#[test]
fn restarts_a_crashed_server_from_the_last_good_definition_during_an_edit() {
    let mut site = Site::new(World::settled([model("a"), model("b"), model("c")]));
    site.world.advance(10);
    site.at(11_000, |world| {
        // A checkout begins: one file is gone for a moment, one is half written.
        world.remove("a");
        world.define(model("b").option("ctx_size", "1"));
        Some(Cause::Files)
    });
    site.at(11_100, |world| {
        world.machine.kill("b", FailureCause::NoMemory, "killed");
        None
    });
    site.at(11_150, |world| {
        world.define(model("a"));
        world.define(model("b").option("ctx_size", "4096"));
        Some(Cause::Files)
    });
    site.watch(40);
    assert_snapshot!(site.story(), @"
    11.100 server of b exited: start b
    11.350 files changed: restart b
    ");
}

#[test]
fn a_change_whose_event_is_still_on_its_way_has_its_debounce_first() {
    let mut world = World::settled([model("a"), model("b")]);
    world.advance(10);
    let mut site = Site::new(world);
    site.at(11_000, |world| {
        world.define(model("a").option("ctx_size", "4096"));
        world.machine.kill("b", FailureCause::NoMemory, "killed");
        None
    });
    site.watch(20);
    assert_snapshot!(site.story(), @"
    11.000 server of b exited: start b
    12.000 health of b changed: restart a
    ");
}

#[test]
fn while_the_definitions_cannot_be_read_servers_are_kept_running_and_nothing_else_is_done() {
    let mut world = World::settled([model("a"), model("b")]);
    world.advance(100);
    let mut site = Site::new(world);
    site.at(101_000, |world| {
        world.unreadable = true;
        world.remove("b");
        Some(Cause::Files)
    });
    site.at(110_000, |world| {
        world.machine.kill("a", FailureCause::NoMemory, "killed");
        None
    });
    site.at(120_000, |world| {
        world.unreadable = false;
        Some(Cause::Files)
    });
    site.watch(140);
    assert_snapshot!(site.story(), @"
    110.000 server of a exited: start a
    120.200 files changed: delete b
    ");
}

#[test]
fn a_watcher_that_never_could_read_the_definitions_keeps_what_is_recorded_running() {
    let mut world = World::settled([model("a"), model("b")]);
    world.unreadable = true;
    world.advance(100);
    world.machine.kill("b", FailureCause::NoMemory, "killed");
    let mut site = Site::new(world);
    site.at(130_000, |world| {
        world.unreadable = false;
        None
    });
    site.watch(150);
    assert_snapshot!(site.story(), @"   0.000 watch started: start b");
}

#[test]
fn retries_a_failed_pass_with_backoff() {
    let mut world = World::settled([model("a")]);
    world.advance(100);
    let mut site = Site::new(world);
    site.at(101_000, |world| {
        world.fail_at = Some(0);
        world.define(model("a").option("ctx_size", "4096"));
        Some(Cause::Files)
    });
    site.watch(120);
    assert_snapshot!(site.story(), @"
    101.200 files changed: failed: disk full
    102.200 retry of a failed pass: restart a
    ");
}

#[test]
fn restores_a_row_once_the_other_program_stops_writing() {
    let mut site = Site::new(World::settled([model("a")]));
    for ms in [1_000, 1_100, 1_200] {
        site.at(ms, |world| {
            world.store.change_column("a", "ctx_size", "512", "1");
            Some(Cause::Database)
        });
    }
    site.watch(20);
    assert_snapshot!(site.story(), @"   1.400 database changed by another process: update a");
}

#[test]
fn a_program_that_undoes_every_pass_is_not_fought_at_full_speed() {
    let mut site = Site::new(World::settled([model("a")]));
    let undo: fn(&mut World) = |world| world.store.change_column("a", "ctx_size", "512", "1");
    undo(&mut site.world);
    site.undo = Some(undo);
    site.watch(3600);
    // Twenty at once, then ever slower, down to one at each resync.
    let acted = |until: u64| site.passes.iter().filter(|(at, ..)| at.as_secs() < until).count();
    assert!((20..40).contains(&acted(60)), "{} passes in the first minute", acted(60));
    assert!(acted(3600) < 160, "{} passes in an hour", acted(3600));
}

#[test]
fn a_change_of_the_defaults_goes_from_model_to_model_as_each_becomes_ready() {
    let mut site = Site::new(World::settled([model("a"), model("b"), model("c")]));
    site.at(1_000, |world| {
        ["a", "b", "c"].into_iter().for_each(|name| world.define(model(name).option("ctx_size", "4096")));
        Some(Cause::Files)
    });
    site.watch(20);
    assert_snapshot!(site.story(), @"
    1.200 files changed: restart a
    2.200 health of a changed: restart b
    3.200 health of b changed: restart c
    ");
}

#[test]
fn a_reboot_brings_every_server_back() {
    let mut world = World::settled([model("a"), model("b")]);
    world.reboot();
    let mut site = Site::new(world);
    site.watch(10);
    assert_snapshot!(site.story(), @"   0.000 watch started: start a, start b");
    assert_eq!(site.world.machine.servers.len(), 2);
}

#[test]
fn a_stale_definition_does_not_end_an_override() {
    let mut site = Site::new(World::settled([model("a"), model("b")]));
    // The file has changed, and who stops the model has read it; the
    // watcher has not, and looks for another model.
    site.at(1_000, |world| {
        world.define(model("a").option("ctx_size", "16384"));
        None
    });
    site.at(1_010, |world| {
        world.by_hand("a", Command::Stop).unwrap();
        None
    });
    site.at(1_020, |world| {
        world.machine.kill("b", FailureCause::Spec, "segmentation fault");
        Some(Cause::Files)
    });
    site.watch(60);
    assert_snapshot!(site.story(), @r"
    1.020 server of b exited: stop a, start b
    1.220 files changed: update a
    ");
    assert!(site.world.store.overrides(&name("a")).state.is_some());
}

#[test]
fn a_suspension_expires_and_a_command_wakes_the_watcher() {
    let mut site = Site::new(World::settled([model("a")]));
    site.at(1_000, |world| {
        world.by_hand("a", Command::Suspend(Some(Duration::from_secs(100)))).unwrap();
        Some(Cause::Database)
    });
    site.at(2_000, |world| {
        world.machine.kill("a", FailureCause::Spec, "segmentation fault");
        None
    });
    site.watch(200);
    assert_snapshot!(site.story(), @" 101.000 deadline: start a");
}

#[test]
fn a_server_that_does_not_say_yet_what_it_serves_is_asked_again_soon() {
    let mut site = Site::new(World::new([model("a").fate("secretive")]));
    site.watch(20);
    assert_eq!((site.passes_for("health of a changed"), site.passes_for("health check")), (1, 8));
    assert_eq!(site.passes_for("resync"), 0);
    assert!(site.world.store.records().models["a"].instances[0].ready.is_some());
}

#[test]
fn does_not_undo_what_another_pass_recorded_in_a_new_database() {
    let mut site = Site::new(World::settled([model("a"), model("b")]));
    // The database is lost, and who makes a new one has read a newer definition.
    site.at(1_000, |world| {
        world.define(model("a").option("ctx_size", "16384"));
        world.lose_database();
        world.settle();
        Some(Cause::Files)
    });
    site.watch(40);
    assert_snapshot!(site.story(), @"");
}

#[test]
fn the_next_edit_does_not_carry_out_what_the_guard_refuses() {
    let mut site = Site::new(World::settled([model("a"), model("b"), model("c"), model("d")]));
    site.at(1_000, |world| {
        ["a", "b", "c", "d"].iter().for_each(|name| world.remove(name));
        world.define(model("e"));
        Some(Cause::Files)
    });
    site.at(10_000, |world| {
        world.machine.kill("a", FailureCause::NoMemory, "killed");
        None
    });
    site.at(20_000, |world| {
        world.define(model("e").option("ctx_size", "4096"));
        Some(Cause::Files)
    });
    site.at(20_010, |world| {
        world.machine.kill("b", FailureCause::NoMemory, "killed");
        None
    });
    site.watch(40);
    assert_snapshot!(site.story(), @"");
}

#[test]
fn the_next_pass_takes_a_command_in_and_answers_it() {
    let mut site = Site::new(World::settled([model("a"), model("b")]));
    let stopped = site.command_at(1_500, "a", Command::Stop);
    let unknown = site.command_at(2_500, "c", Command::Stop);
    site.watch(20);
    assert_snapshot!(site.story(), @"   1.500 command: stop a");
    assert!(stopped.recv().unwrap().is_ok_and(|changes| !changes.is_empty()));
    assert_eq!(unknown.recv().unwrap(), Err(Refusal::Unknown));
    let late = site.leave("b", Command::Stop);
    assert!(late.recv().is_err(), "a watcher that has ended answers nobody, and keeps nobody waiting");
}

/// Gives a permit, so many seconds from the beginning; returns what comes of it.
fn permit_at(site: &mut Site, seconds: u64) -> Receiver<&'static str> {
    let (send, said) = channel();
    let inbox = site.inbox();
    site.at(seconds * 1_000, move |_| {
        let follower = Box::new(move |progress: Progress<'_>| {
            let what = match progress {
                Progress::Passed { is_over: true, .. } => "over",
                Progress::Passed { is_over: false, .. } => "under way",
                Progress::OutOfTime(_) => "out of time",
                Progress::Failed(_) | Progress::Refused(_) => "failed",
            };
            send.send(what).is_ok()
        });
        inbox.permit(Permit { by: "ann".to_owned(), ..Permit::default() }, follower);
        Some(Cause::Command)
    });
    said
}

#[test]
fn a_permit_runs_out_of_time_while_a_model_loads_forever() {
    let mut site = Site::new(World::new([model("a").fate("hangs").ready_timeout(3 * LONGEST.as_secs())]));
    let said = permit_at(&mut site, 1);
    site.watch(2 * LONGEST.as_secs());
    let said: Vec<_> = said.try_iter().collect();
    let (last, before) = said.split_last().unwrap();
    assert_eq!(*last, "out of time");
    assert!(!before.is_empty() && before.iter().all(|said| *said == "under way"), "{before:?}");
}

/// Edits the definitions at 1 s; the edit may be taken back until it is dropped.
fn edit_at_1s(site: &mut Site) -> Rc<RefCell<Option<MutexGuard<'static, ()>>>> {
    let inbox: &'static _ = Box::leak(Box::new(site.inbox()));
    let held = Rc::new(RefCell::new(None));
    let holds = Rc::clone(&held);
    site.at(1_000, move |world| {
        *holds.borrow_mut() = Some(Inbox::edits(inbox));
        world.define(model("a").fate("slow"));
        Some(Cause::Files)
    });
    held
}

#[test]
fn an_edit_is_applied_once_it_cannot_be_taken_back() {
    let mut site = Site::new(World::settled([model("a")]));
    let edit = edit_at_1s(&mut site);
    site.at(100_000, move |_| {
        drop(edit.take());
        Some(Cause::Command)
    });
    site.watch(150);
    assert_snapshot!(site.story(), @" 100.200 files changed: restart a");
}

#[test]
fn a_permit_runs_out_of_time_while_the_definitions_must_not_be_read() {
    let mut site = Site::new(World::settled([model("a")]));
    let _edit = edit_at_1s(&mut site);
    let said = permit_at(&mut site, 2);
    site.watch(2 * LONGEST.as_secs());
    assert_eq!((said.try_iter().collect::<Vec<_>>(), site.story()), (vec!["out of time"], String::new()));
}
