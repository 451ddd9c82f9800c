//! What packages of herdsman use: the version, the completions, the manual pages,
//! the units of systemd.

use std::fs;
use std::path::Path;
use std::process::Command;

use herdsman::owner::settings::serve::Listen;

/// What herdsman prints.
fn herdsman(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_herdsman")).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The names of all commands, from the help.
fn commands() -> Vec<String> {
    let help = herdsman(&["--help"]);
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A description that is wrapped goes on further in.
    let names = lines.filter(|line| !line.starts_with("   "));
    let names: Vec<_> = names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    assert!(names.len() > 5, "{help}");
    names
}

#[test]
fn version_includes_the_commit() {
    let head =
        Command::new("git").args(["rev-parse", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let head = String::from_utf8(head.stdout).unwrap();
    let expected = match head.trim() {
        "" => format!("herdsman {}\n", env!("CARGO_PKG_VERSION")),
        commit => format!("herdsman {} ({})\n", env!("CARGO_PKG_VERSION"), &commit[..10]),
    };
    assert_eq!(herdsman(&["--version"]), expected);
}

#[test]
fn bash_accepts_the_completions_and_completes_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("herdsman.bash");
    fs::write(&script, herdsman(&["completions", "bash"])).unwrap();
    let complete = format!(
        "source '{}'; COMP_WORDS=(herdsman ''); COMP_CWORD=1; _herdsman herdsman '' herdsman; echo \"${{COMPREPLY[*]}}\"",
        script.display()
    );
    let output = Command::new("bash").args(["-c", &complete]).output().unwrap();
    let offered = String::from_utf8(output.stdout).unwrap();
    for command in commands() {
        assert!(offered.split_whitespace().any(|word| word == command), "{command} is not in {offered}");
    }
    for shell in ["zsh", "fish"] {
        assert!(herdsman(&["completions", shell]).contains("reconcile"));
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    herdsman(&["man", "--to", dir.path().to_str().unwrap()]);
    for command in commands() {
        let page = fs::read_to_string(dir.path().join(format!("herdsman-{command}.1"))).unwrap();
        assert!(page.contains(&format!(".TH herdsman-{command} 1")), "{page}");
    }
    let page = fs::read_to_string(dir.path().join("herdsman.1")).unwrap();
    assert_eq!(page, herdsman(&["man"]));
    // What `apropos` reads is one line.
    assert!(page.contains(" directory of TOML files.\n.SH SYNOPSIS\n"), "{page}");

    let nowhere = dir.path().join("nowhere");
    let output = Command::new(env!("CARGO_BIN_EXE_herdsman")).args(["man", "--to"]).arg(&nowhere).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with(&format!("error: cannot write to {}: No such file", nowhere.display())), "{said}");
    assert!(said.ends_with("; --to needs an existing directory\n"), "{said}");
}

#[test]
fn herdsman_accepts_the_commands_of_the_examples() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = [
        ("github-actions/models.yml", &["validate", "reconcile", "wait"][..]),
        ("gitlab-ci/gitlab-ci.yml", &["validate", "reconcile", "wait"]),
        ("pre-commit/pre-commit-config.yaml", &["validate"]),
    ];
    for (file, wanted) in files {
        let text = fs::read_to_string(examples.join(file)).unwrap();
        let commands = text.lines().filter_map(|line| {
            let (before, command) = line.split_once("herdsman ")?;
            let command = command.split(" > ").next()?;
            before.trim().trim_start_matches("run:").trim_matches([' ', '-']).is_empty().then_some(command)
        });
        let commands: Vec<&str> =
            commands.chain(text.lines().filter_map(|l| l.trim().strip_prefix("entry: herdsman "))).collect();
        for (command, name) in commands.iter().zip(wanted) {
            assert!(command.split(' ').any(|word| word == *name), "{file}: {command}");
            let args = command.split_whitespace().map(|arg| arg.trim_matches('"'));
            // An unknown argument is an error before `--help` takes effect.
            let output = Command::new(env!("CARGO_BIN_EXE_herdsman")).args(args).arg("--help").output().unwrap();
            assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
        }
        assert_eq!(commands.len(), wanted.len(), "{file}: {commands:?}");
    }
}

/// The values of a key in a unit file.
fn values<'u>(unit: &'u str, key: &str) -> Vec<&'u str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn herdsman_accepts_what_the_units_start_and_send() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/systemd");
    let unit = |name: &str| fs::read_to_string(units.join(name)).unwrap();
    for name in ["herdsman.service", "herdsman-user.service"] {
        let unit = unit(name);
        let [start] = values(&unit, "ExecStart")[..] else { panic!("{unit}") };
        let args = start.split_whitespace().skip(1);
        // An unknown argument is an error before `--help` takes effect.
        let output = Command::new(env!("CARGO_BIN_EXE_herdsman")).args(args).arg("--help").output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        // A handover: the new process is a child of the old one, which names it.
        assert_eq!(values(&unit, "ExecReload"), ["/bin/kill -USR2 $MAINPID"], "{name}");
        assert_eq!((&*values(&unit, "Type"), &*values(&unit, "NotifyAccess")), (&["notify"][..], &["main"][..]));
        assert_eq!(values(&unit, "KillMode"), ["process"], "{name}: servers outlive herdsman");
    }
    let socket = unit("herdsman.socket");
    let [address] = values(&socket, "ListenStream")[..] else { panic!("{socket}") };
    let address: Listen = address.parse().unwrap();
    assert!(address.is_local(), "{address}: without keys, herdsman would refuse it");
    // It belongs to the service of its own name, and not to one per connection.
    assert!(values(&socket, "Service").is_empty() && values(&socket, "Accept").is_empty(), "{socket}");
}
