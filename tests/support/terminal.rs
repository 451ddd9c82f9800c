//! A terminal: what a program draws on it is what a person would see.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, ioctl_tiocsctty, kill_process, setsid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use super::{eventually, picture};

const PATIENCE: Duration = Duration::from_secs(30);

/// A program in a terminal of its own; killed when dropped.
pub struct Terminal {
    child: Child,
    keyboard: File,
    /// Kept open, so that what the program wrote last is still read.
    line: OwnedFd,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    /// Runs `command` in a terminal of this size.
    pub fn run(command: &mut Command, rows: u16, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let line = open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        tcsetwinsize(&line, size(rows, columns)).unwrap();
        let end = || line.try_clone().unwrap();
        command.stdin(end()).stdout(end()).stderr(end());
        let controlling = end();
        // SAFETY: both calls are async-signal-safe, and nothing is allocated.
        unsafe {
            command.pre_exec(move || {
                setsid()?;
                Ok(ioctl_tiocsctty(&controlling)?)
            });
        }
        let child = command.spawn().unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(cells(rows), cells(columns), 100)));
        let keyboard = File::from(master);
        let (mut output, drawn) = (keyboard.try_clone().unwrap(), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Fails once nobody can write to it any more.
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                drawn.lock().unwrap().process(&buffer[..length]);
            }
        });
        Self { child, keyboard, line, screen }
    }

    fn screen(&self) -> MutexGuard<'_, vt100::Parser> {
        self.screen.lock().unwrap()
    }

    /// The lines on the screen.
    pub fn lines(&self) -> Vec<String> {
        let parser = self.screen();
        let (_, columns) = parser.screen().size();
        parser.screen().rows(0, columns.get()).map(|line| line.trim_end().to_owned()).collect()
    }

    /// The screen as a picture.
    pub fn picture(&self) -> String {
        picture::svg(self.screen().screen())
    }

    /// Waits until the screen is as `wanted`.
    #[track_caller]
    pub fn shows(&self, what: &str, wanted: impl Fn(&[String]) -> bool) {
        let start = Instant::now();
        loop {
            let lines = self.lines();
            if wanted(&lines) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "it never shows {what}, but\n{}", lines.join("\n"));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether the program has the alternate screen, and whether it hides the
    /// cursor.
    pub fn is_taken(&self) -> (bool, bool) {
        let parser = self.screen();
        (parser.screen().alternate_screen(), parser.screen().hide_cursor())
    }

    /// Changes the window's size; the program learns of it.
    pub fn resize(&self, rows: u16, columns: u16) {
        self.screen().screen_mut().set_size(cells(rows), cells(columns));
        tcsetwinsize(&self.line, size(rows, columns)).unwrap();
    }

    /// Types.
    pub fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The settings of the line, to be compared.
    pub fn settings(&self) -> String {
        format!("{:?}", tcgetattr(&self.line).unwrap())
    }

    /// Waits until the program has ended by itself: its exit code.
    #[track_caller]
    pub fn exit_code(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("it ends", PATIENCE, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Fails only for a process that has been waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cells(number: u16) -> NonZero<u16> {
    NonZero::new(number).unwrap()
}

const fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
