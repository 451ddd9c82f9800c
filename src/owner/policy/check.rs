//! Checks a spec against the policy, and the definitions of a directory.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::options::{Use, use_of};
use super::problem::{Breach, Problem};
use super::{Key, Policy, environment};
use crate::definition::{ReadFrom, Refused, files, problem_at, refuse};
use crate::llama::catalogue::binary;
use crate::model::{Definition, Desired, Diagnostic, OptionSetting, OptionValue, SecretSource, Spec, Table};
use crate::sys::links::{self, NotForAll};

impl Policy {
    /// Marks every definition that asks for more than the policy allows as
    /// unresolved, with a diagnostic at each offending line. This runs before
    /// herdsman looks at anything on the host for a definition, so that a refusal
    /// reveals nothing about it. `from` is where the definitions were read.
    pub fn enforce(&self, desired: &mut Arc<Desired>, from: ReadFrom<'_>) {
        let check = Check::new(self);
        // Links in a commit do not lead out of it.
        if !matches!(from, ReadFrom::Commit(_)) {
            self.keep_in(&check, desired);
        }
        let mut refused = Refused::default();
        if let Some(problem) = self.too_many(desired) {
            let first = Diagnostic::error(shown(desired), problem.to_string()).help(self.help(&problem));
            refused.everything(desired, first);
        }
        for definition in desired.definitions.values() {
            let problems = check
                .breaches(&definition.spec)
                .into_iter()
                .map(|breach| self.diagnostic(definition, desired, from, &breach));
            refused.add(definition, problems.collect());
        }
        refuse(desired, refused);
    }

    /// Why no instance of `spec` may start, in one sentence.
    #[must_use]
    pub fn refusal(&self, spec: &Spec) -> Option<String> {
        if let Some(why) = &self.unknown {
            return Some(why.clone());
        }
        let breach = Check::new(self).breaches(spec).into_iter().next()?;
        Some(format!("{}; {}", breach.problem, self.rule(&breach.problem)))
    }

    /// Whether a definition may name the llama-server at `path`.
    ///
    /// # Errors
    /// Why not, in one sentence.
    pub fn allows_binary(&self, path: &Path) -> Result<(), String> {
        if let Some(why) = &self.unknown {
            return Err(why.clone());
        }
        match Check::new(self).within("`binary`", path, Key::Binaries) {
            Some(problem) => Err(format!("{problem}; {}", self.rule(&problem))),
            None => Ok(()),
        }
    }

    /// Unreadable files count too, because each protects a model.
    fn too_many(&self, desired: &Desired) -> Option<Problem> {
        let models = desired.definitions.len() + desired.unresolved.len();
        let most = self.max_models?;
        (models > most).then_some(Problem::TooMany { models, most })
    }

    fn diagnostic(
        &self,
        definition: &Definition,
        desired: &Desired,
        from: ReadFrom<'_>,
        breach: &Breach,
    ) -> Diagnostic {
        let origin = definition.origin(&breach.field);
        problem_at(definition, desired, from, &origin, &breach.needle, &breach.problem.to_string())
            .help(self.help(&breach.problem))
    }
}

/// The directory as people see it, derived from the files in it.
pub(super) fn shown(desired: &Desired) -> String {
    let files = desired.definitions.values().map(|definition| &definition.file);
    let mut files = files.chain(desired.unresolved.iter().map(|unresolved| &unresolved.file));
    let directory = files.next().and_then(|file| file.rsplit_once('/')).map(|(directory, _)| directory.to_owned());
    directory.unwrap_or_else(|| desired.dir.display().to_string())
}

/// A policy at one moment: each path is followed once.
pub(super) struct Check<'p> {
    policy: &'p Policy,
    seen: RefCell<HashMap<PathBuf, Result<PathBuf, NotForAll>>>,
}

impl<'p> Check<'p> {
    fn new(policy: &'p Policy) -> Self {
        Self { policy, seen: RefCell::default() }
    }

    /// Everything that `spec` asks for and the policy does not allow.
    fn breaches(&self, spec: &Spec) -> Vec<Breach> {
        // Destructured, so that a new field does not compile until someone decides
        // what it can do to the host.
        let Spec { host, port, options, env, binary, files: _, secrets } = spec;
        let mut breaches = Vec::new();
        let written = self.download_to(options);
        let mut add = |field: &str, needle: &str, problem: Option<Problem>| {
            let (field, needle) = (field.to_owned(), needle.to_owned());
            breaches.extend(problem.map(|problem| Breach { field, needle, problem }));
        };
        add("host", host, self.host(host));
        if let Some(port) = port {
            add("port", &port.to_string(), self.port(*port));
        }
        if let Some(binary) = binary {
            add("binary", binary, self.binary(binary));
        }
        for (key, setting) in options {
            for (needle, problem) in self.option(key, setting) {
                add(key, &needle, Some(problem));
            }
        }
        add("mmproj", "", written);
        for name in env.keys() {
            add(&format!("env.{name}"), "", self.variable(name));
        }
        for (variable, secret) in secrets {
            add(&format!("secrets.{variable}"), "", self.secret(variable, &secret.source));
        }
        breaches
    }

    fn host(&self, host: &str) -> Option<Problem> {
        if host.contains('/') {
            return self.within("a unix socket", Path::new(host), Key::SocketRoots);
        }
        let is_loopback = || host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        let allowed = match &self.policy.hosts {
            Some(hosts) => hosts.iter().any(|allowed| allowed == "*" || allowed == host),
            None => is_loopback(),
        };
        (!allowed).then(|| Problem::Host { host: host.to_owned() })
    }

    fn port(&self, port: u16) -> Option<Problem> {
        let (from, to) = self.policy.ports;
        (!(from..=to).contains(&port)).then_some(Problem::Port { port })
    }

    /// A missing program is not run, whatever it is called.
    fn binary(&self, binary: &str) -> Option<Problem> {
        let path = match binary.contains('/') {
            true => PathBuf::from(binary),
            false => binary::locate(Some(binary), std::env::var_os("PATH").as_deref()).ok()?,
        };
        self.within("`binary`", &path, Key::Binaries)
    }

    /// What is wrong with an option, each with what to point at.
    fn option(&self, key: &str, setting: &OptionSetting) -> Vec<(String, Problem)> {
        let (policy, option) = (self.policy, || key.to_owned());
        let whole = |problem| vec![(String::new(), problem)];
        if policy.deny_options.contains(key) {
            return whole(Problem::DeniedOption { option: option() });
        }
        let allowed = policy.allow_options.contains(key);
        match use_of(key) {
            Some(Use::Harmless) => Vec::new(),
            Some(Use::Reads(roots)) => self.files(key, setting, roots),
            Some(Use::Downloads) if !allowed => self.download(key, setting),
            Some(Use::NamesDownload) => file_name(key, setting),
            // Turned off, it does nothing.
            Some(Use::Denied(..)) if setting.value == OptionValue::Flag(false) => Vec::new(),
            Some(Use::Denied(why, _)) if !allowed => whole(Problem::Harmful { option: option(), why }),
            Some(Use::Denied(_, Some(roots))) => self.files(key, setting, roots),
            None if !allowed => whole(Problem::UnknownOption { option: option() }),
            Some(Use::Downloads | Use::Denied(_, None)) | None => Vec::new(),
        }
    }

    fn files(&self, key: &str, setting: &OptionSetting, roots: Key) -> Vec<(String, Problem)> {
        let what = format!("`{key}`");
        let mut problems = Vec::new();
        for text in texts(setting) {
            // `PATH:0.5`; llama-server accepts no other `:` in the path.
            let path =
                if key.ends_with("_scaled") { text.rsplit_once(':').map_or(&**text, |(path, _)| path) } else { text };
            // One bad part is enough to refuse the whole set.
            let problem = files::shards(&path.into())
                .find_map(|part| Some((self.within(&what, Path::new(&*part), roots)?, part)));
            problems.extend(problem.map(|(problem, part)| (last_name(&part), problem)));
        }
        problems
    }

    fn download(&self, key: &str, setting: &OptionSetting) -> Vec<(String, Problem)> {
        let mut problems = Vec::new();
        for text in texts(setting) {
            let source = match key {
                "hf_repo" | "spec_draft_hf" => format!("hf:{text}"),
                "docker_repo" => format!("docker:{text}"),
                _ => text.to_string(),
            };
            let climbs = text.split(['/', '\\']).any(|part| part == "..") || text.to_ascii_lowercase().contains("%2e");
            if climbs || !self.policy.downloads.iter().any(|allowed| allowed.fits(&source)) {
                problems.push((text.to_string(), Problem::Download { source }));
            }
        }
        problems
    }

    /// With `mmproj_url`, `mmproj` is not read: the download is written to it.
    fn download_to(&self, options: &Table<Arc<str>, OptionSetting>) -> Option<Problem> {
        let setting = options.get("mmproj").filter(|_| options.contains_key("mmproj_url"))?;
        let what = "`mmproj`, which `mmproj_url` is written to";
        texts(setting).iter().find_map(|path| self.within(what, Path::new(&**path), Key::WriteRoots))
    }

    fn variable(&self, name: &str) -> Option<Problem> {
        let (policy, named) = (self.policy, || name.to_owned());
        if policy.deny_env.iter().any(|denied| denied.fits(name)) {
            return Some(Problem::DeniedVariable { name: named() });
        }
        if policy.allow_env.iter().any(|allowed| allowed.is_exactly(name)) {
            return None;
        }
        if let Some(why) = environment::harm(name) {
            return Some(Problem::HarmfulVariable { name: named(), why });
        }
        let allowed = environment::is_harmless(name) || policy.allow_env.iter().any(|allowed| allowed.fits(name));
        (!allowed).then(|| Problem::UnknownVariable { name: named() })
    }

    fn secret(&self, variable: &str, source: &SecretSource) -> Option<Problem> {
        let secret = match variable {
            "LLAMA_API_KEY" => "api_key",
            "HF_TOKEN" => "hf_token",
            other => other,
        };
        match source {
            SecretSource::File(path) => self.within(&format!("`{secret}`"), Path::new(path), Key::SecretRoots),
            SecretSource::Env(name) => (!self.policy.secret_env.iter().any(|allowed| allowed.fits(name)))
                .then(|| Problem::SecretVariable { secret: secret.to_owned(), name: name.clone() }),
        }
    }

    /// What is wrong with `path`, if it leads out of the directories of `key`.
    pub fn within(&self, what: &str, path: &Path, key: Key) -> Option<Problem> {
        // llama-server's working directory.
        let path = Path::new("/").join(path);
        let mut seen = self.seen.borrow_mut();
        let real = seen.entry(path.clone()).or_insert_with(|| links::real_for_all(&path));
        let what = what.to_owned();
        match real {
            Err(NotForAll::Proc(place)) => Some(Problem::OfAProcess { what, path, place: place.clone(), key }),
            Err(NotForAll::Unknown(cause)) => Some(Problem::Unresolved { what, path, cause: cause.clone(), key }),
            Ok(real) if self.policy.roots(key).iter().any(|root| links::is_within(real, root)) => None,
            Ok(real) => Some(Problem::Outside { what, path, real: real.clone(), key }),
        }
    }
}

/// The values of an option.
fn texts(setting: &OptionSetting) -> &[Arc<str>] {
    match &setting.value {
        OptionValue::Flag(_) => &[],
        OptionValue::One(text) => std::slice::from_ref(text),
        OptionValue::Many(texts) => texts,
    }
}

/// llama-server stores its download under that name.
fn file_name(key: &str, setting: &OptionSetting) -> Vec<(String, Problem)> {
    let leads_out = |text: &&Arc<str>| text.starts_with('/') || text.split(['/', '\\']).any(|part| part == "..");
    let problem =
        |text: &Arc<str>| (text.to_string(), Problem::NotAName { option: key.to_owned(), text: text.to_string() });
    texts(setting).iter().filter(leads_out).map(problem).collect()
}

fn last_name(path: &str) -> String {
    Path::new(path).file_name().and_then(OsStr::to_str).unwrap_or(path).to_owned()
}
