//! The command line of `docker run`, `podman run` and the like.

use super::shell::assignment;

/// Programs that run a command in a container, all with docker's options.
pub(super) const PROGRAMS: [&str; 3] = ["docker", "podman", "nerdctl"];

/// Options of `run` and `exec` without a value; all others take one.
const FLAGS: [&str; 24] = [
    "detach",
    "disable-content-trust",
    "env-host",
    "help",
    "http-proxy",
    "init",
    "interactive",
    "latest",
    "no-healthcheck",
    "no-hostname",
    "no-hosts",
    "oom-kill-disable",
    "privileged",
    "publish-all",
    "quiet",
    "read-only",
    "read-only-tmpfs",
    "replace",
    "rm",
    "rmi",
    "sig-proxy",
    "tls-verify",
    "tty",
    "use-api-socket",
];

/// Such options of one letter.
const SHORT_FLAGS: &str = "ditPqL";

/// What a container runs, and what surrounds it.
#[derive(Debug, Default)]
pub(super) struct Container {
    /// The program and its arguments; empty if the image's own program runs.
    pub command: Vec<String>,
    /// How many words belong to the wrapper rather than to the command.
    pub own_words: usize,
    /// The arguments of the image's own program.
    pub is_entrypoint: bool,
    pub env: Vec<(String, String)>,
    /// Published ports: the address, the host port, and the container port.
    pub ports: Vec<(Option<String>, String, String)>,
    /// Paths on the host and inside.
    pub volumes: Vec<(String, String)>,
    /// It uses the host's network.
    pub is_on_host: bool,
    pub directory: Option<String>,
}

/// Parses the words after `docker`; `None`: it runs nothing.
pub(super) fn read(words: &[String]) -> Option<Container> {
    let all = words.len();
    let mut words = words.iter().map(String::as_str);
    let command = words.find(|word| matches!(*word, "run" | "exec" | "create"))?;
    let (mut container, mut entrypoint) = (Container::default(), None);
    let image = loop {
        let word = words.next()?;
        let Some(option) = word.strip_prefix('-') else { break word };
        let (name, value) = if let Some(long) = option.strip_prefix('-') {
            match long.split_once('=') {
                Some((name, value)) => (name, value),
                None if FLAGS.contains(&long) => continue,
                None => (long, words.next()?),
            }
        } else {
            let Some(at) = option.find(|c| !SHORT_FLAGS.contains(c)) else { continue };
            let end = at + option[at..].chars().next().map_or(1, char::len_utf8);
            let (letter, rest) = (&option[at..end], option[end..].trim_start_matches('='));
            (letter, if rest.is_empty() { words.next()? } else { rest })
        };
        match name {
            "entrypoint" => entrypoint = Some(value.to_owned()),
            _ => container.option(name, value),
        }
    };
    let rest: Vec<String> = words.map(str::to_owned).collect();
    container.own_words = all - rest.len();
    container.command = match entrypoint {
        Some(program) => std::iter::once(program).chain(rest).collect(),
        None => {
            container.is_entrypoint = command != "exec" && is_server_image(image, &rest);
            let is_mode = |word: &String| container.is_entrypoint && is_server_mode(word);
            rest.into_iter().skip_while(is_mode).collect()
        }
    };
    Some(container)
}

impl Container {
    fn option(&mut self, name: &str, value: &str) {
        match name {
            "e" | "env" => self.env.extend(assignment(value).map(|(name, value)| (name.to_owned(), value.to_owned()))),
            "p" | "publish" => self.ports.extend(published(value)),
            "v" | "volume" => {
                let mut parts = value.split(':');
                if let (Some(here), Some(inside)) = (parts.next(), parts.next()) {
                    self.volumes.push((here.to_owned(), inside.to_owned()));
                }
            }
            "mount" => {
                let part = |names: [&str; 3]| {
                    value.split(',').find_map(|part| part.split_once('=').filter(|(key, _)| names.contains(key)))
                };
                if let (Some((_, here)), Some((_, inside))) =
                    (part(["source", "src", ""]), part(["target", "dst", "destination"]))
                {
                    self.volumes.push((here.to_owned(), inside.to_owned()));
                }
            }
            "network" | "net" => self.is_on_host = value == "host",
            "w" | "workdir" => self.directory = Some(value.to_owned()),
            _ => {}
        }
    }

    /// Maps a path inside to the host, by its volume.
    pub fn here(&self, path: &str) -> Option<String> {
        let below = |(here, inside): &(String, String)| {
            let rest = path.strip_prefix(inside.trim_end_matches('/'))?;
            let is_path = here.starts_with(['/', '~', '.', '$']);
            (rest.starts_with('/') && is_path).then(|| (inside.len(), format!("{}{rest}", here.trim_end_matches('/'))))
        };
        self.volumes.iter().filter_map(below).max().map(|(_, path)| path)
    }
}

/// `[ADDRESS:]HERE:INSIDE[/tcp]`.
fn published(value: &str) -> Option<(Option<String>, String, String)> {
    let (rest, inside) = value.rsplit_once(':')?;
    // A `${PORT}` has no colon, but an IPv6 address does.
    let (address, here) = rest.rsplit_once(':').map_or((None, rest), |(address, here)| (Some(address), here));
    let inside = inside.split('/').next().unwrap_or(inside);
    Some((address.map(str::to_owned), here.to_owned(), inside.to_owned()))
}

/// Whether an image runs llama-server itself: llama.cpp's `server` images do, and
/// its `full` images with `--server`.
fn is_server_image(image: &str, arguments: &[String]) -> bool {
    let (name, tag) = image.rsplit('/').next().unwrap_or(image).split_once(':').unwrap_or((image, ""));
    let is_llama = image.to_ascii_lowercase().contains("llama");
    let names_it = |text: &str| text.split(['-', '_', '.', '/']).any(|word| word == "server");
    let full = tag.starts_with("full") && arguments.first().is_some_and(|word| is_server_mode(word));
    is_llama && (names_it(tag) || names_it(name) || full)
}

/// The argument that makes a `full` image run the server.
fn is_server_mode(word: &str) -> bool {
    matches!(word, "--server" | "-s")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn container(line: &str) -> Option<Container> {
        read(&shlex::split(line).unwrap())
    }

    #[test]
    fn a_command_is_found_behind_dockers_options() {
        let run = "run --name llama-server -itd --rm --gpus '\"device=0,1\"' --init -e A=b -v /mnt/m:/models:ro";
        let found =
            container(&format!("{run} -p 9001:8080 ghcr.io/ggml-org/llama.cpp:server-cuda -m /models/a b")).unwrap();
        assert!(found.is_entrypoint);
        assert_eq!(found.command, ["-m", "/models/a", "b"]);
        assert_eq!(found.env, [("A".to_owned(), "b".to_owned())]);
        assert_eq!(found.ports, [(None, "9001".to_owned(), "8080".to_owned())]);
        assert_eq!(found.here("/models/a").unwrap(), "/mnt/m/a");
        assert_eq!(found.here("/modelsx/a"), None);

        let own = container("run --entrypoint /app/llama-server --network=host some/image -m x").unwrap();
        assert!(own.is_on_host && !own.is_entrypoint);
        assert_eq!(own.command, ["/app/llama-server", "-m", "x"]);
        let exec = container("exec -e X=1 -it box llama-server -m x").unwrap();
        assert_eq!(exec.command, ["llama-server", "-m", "x"]);
        assert!(container("start box").is_none() && container("run -it").is_none());
        assert!(!container("run vllm/vllm-openai:v0.10 --model x").unwrap().is_entrypoint);
        assert!(!container("run ghcr.io/ggml-org/llama.cpp:full --run -m x").unwrap().is_entrypoint);
        let full = container("run local/ik_llama.cpp:full --server -m x").unwrap();
        assert!(full.is_entrypoint);
        assert_eq!(full.command, ["-m", "x"]);
    }

    proptest::proptest! {
        #[test]
        fn no_line_makes_it_panic(words in proptest::collection::vec("[-a-eprunxv=:/é]{0,8}", 0..8)) {
            let _ = read(&words);
        }
    }
}
