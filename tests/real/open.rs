//! `open`: where the page is.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::gateway::served::Served;
use crate::support::{Terminal, World, eventually};

#[test]
fn prints_the_address_of_the_page_or_says_what_to_do() {
    let world = World::new();
    world.run(&["open"]).exits(1).says(&["no watcher is running on ", "herdsman watch --listen 127.0.0.1:8080"]);
    {
        let watcher = world.watch(&[]);
        watcher.eventually_says("watching");
        world.run(&["open"]).exits(1).says(&["serves no page", "--listen"]);
    }
    let socket = world.path().join("gateway.sock");
    {
        let at = format!("unix:{}", socket.display());
        let watcher = world.watch(&["--listen", &at]);
        watcher.eventually_says("serving at ");
        world.run(&["open"]).exits(1).says(&[&at, "add a TCP address"]);
    }
    let served = Served::new(world);
    let page = format!("http://127.0.0.1:{}/\n", served.port);
    assert_eq!(served.world.run(&["open"]).exits(0).stdout, page);
}

#[test]
fn opens_the_page_on_a_desktop() {
    let served = Served::new(World::new());
    let (bin, opened) = (served.world.path().join("bin"), served.world.path().join("opened"));
    fs::create_dir(&bin).unwrap();
    let opener = bin.join("xdg-open");
    fs::write(&opener, format!("#!/bin/sh\necho \"$1\" > {}\n", opened.display())).unwrap();
    fs::set_permissions(&opener, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let page = format!("http://127.0.0.1:{}/", served.port);
    let open = |more: &[&str], display: &str| {
        let mut command = served.world.command();
        command.env("PATH", &path).env("DISPLAY", display).env_remove("WAYLAND_DISPLAY").arg("open").args(more);
        let mut terminal = Terminal::run(&mut command, 24, 80);
        assert_eq!(terminal.exit_code(), Some(0));
        terminal.shows("the address", |lines| lines[0] == page);
    };
    open(&["--print"], ":7");
    open(&[], "");
    assert!(!opened.exists());
    open(&[], ":7");
    eventually("it is opened", crate::gateway::served::PATIENCE, || {
        fs::read_to_string(&opened).is_ok_and(|text| text.trim() == page)
    });
}
