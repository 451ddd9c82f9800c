//! A directory of weights.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use super::{all_valid, whole};
use crate::support::{Ran, World};

#[test]
fn a_directory_of_weights_becomes_definitions() {
    let world = World::new();
    let weights = world.path().join("weights");
    let m = world.weights("m", "hi ");
    for dir in ["vision", "big", "locked"] {
        fs::create_dir(weights.join(dir)).unwrap();
    }
    let copies = [
        "vision/Qwen3-VL-8B-Q4_K_M.gguf",
        "vision/Qwen3-VL-8B-Q8_0.GGUF",
        "vision/mmproj-Qwen3-VL-8B-F16.gguf",
        "vision/mmproj-Qwen3-VL-8B-BF16.gguf",
        "vision/mmproj-gemma.gguf",
        "big/big-00001-of-00002.gguf",
        "big/big-00002-of-00002.gguf",
        "big/half-00001-of-00003.gguf",
        "big/half-00003-of-00003.gguf",
        "big/m.gguf",
        "big/größe.gguf",
    ];
    for copy in copies {
        fs::copy(&m, weights.join(copy)).unwrap();
    }
    fs::write(weights.join("empty.gguf"), "").unwrap();
    fs::write(weights.join("page.gguf"), "<html>").unwrap();
    fs::write(weights.join("notes.txt"), "").unwrap();
    symlink("..", weights.join("big/loop")).unwrap();
    let ran = world.run(&["import", "ggufs", "weights", "--to", "out"]).exits(1);
    insta::assert_snapshot!(whole(&world, &ran, "out"));
    all_valid(&world.path().join("out"), 6);
}

#[test]
fn reports_a_directory_without_read_permission() {
    let world = World::new();
    world.weights("m", "hi ");
    let locked = world.path().join("weights/locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    // Root reads what nobody may, but not from a namespace that does not know it.
    let herdsman = world.command();
    let mut unprivileged = Command::new("unshare");
    unprivileged.arg("--user").arg(herdsman.get_program()).args(herdsman.get_args()).current_dir(world.path());
    let ran = Ran::of(unprivileged.args(["import", "ggufs", "weights", "--to", "out"])).exits(1);
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
    ran.says(&["Permission denied"]);
    all_valid(&world.path().join("out"), 1);
}

#[test]
fn accounts_for_every_file_of_a_directory() {
    let world = World::new();
    let m = world.weights("m", "hi ");
    let weights = world.path().join("weights");
    let deep = weights.join(["d"; 16].join("/"));
    // A name in Latin-1.
    let latin = weights.join(OsStr::from_bytes(b"gr\xf6\xdfe"));
    for dir in [&weights.join("a"), &weights.join("b"), &latin, &deep] {
        fs::create_dir_all(dir).unwrap();
    }
    let copies = ["a/half-00001-of-00002.gguf", "b/half-00001-of-00002.gguf", "b/half-00001-of-00003.gguf"];
    for copy in copies.map(|copy| weights.join(copy)).into_iter().chain([latin.join("n.gguf"), deep.join("o.gguf")]) {
        fs::copy(&m, copy).unwrap();
    }
    let ran = world.run(&["import", "ggufs", "weights", "--to", "out"]).exits(1);
    insta::assert_snapshot!(whole(&world, &ran, "out"));
    all_valid(&world.path().join("out"), 1);
}

#[test]
fn refuses_a_directory_without_weights() {
    let world = World::new();
    world.run(&["import", "ggufs", "weights", "--to", "out"]).exits(65).says(&["contains no .gguf files"]);
}
