//! The topics: Markdown pages that are part of the program.

/// A page of the reference.
#[derive(Clone, Copy, Debug)]
pub(super) struct Topic {
    /// What `herdsman help` calls it.
    pub name: &'static str,
    /// What it is about, in one line.
    pub summary: &'static str,
    /// The page, in Markdown.
    pub text: &'static str,
}

macro_rules! topics {
    ($($name:literal: $summary:literal,)+) => {
        /// Every topic, in the order a reader needs them.
        pub(super) const TOPICS: &[Topic] = &[
            $(Topic { name: $name, summary: $summary, text: include_str!(concat!("topics/", $name, ".md")) },)+
        ];
    };
}

topics! {
    "definitions": "Write a definition: keys, options, defaults, secrets, editor support",
    "plans": "Read, save, review and apply a plan; options of `reconcile`",
    "service": "Run `watch` under systemd, from cron or in a container",
    "gateway": "One address for all models: on demand, groups, keys, upgrades",
    "api": "The page at `/`, and an API with live events for programs",
    "lifecycle": "What happens on an edit, a failed start, a crash, an upgrade",
    "llama-server": "Which llama-server runs, and how herdsman learns its options",
    "inspect": "Status, history and logs of your models",
    "git": "Check pull requests, follow a branch, wait for a rollout",
    "by-hand": "Suspend, start, stop and restart a model by hand",
    "moving-in": "Import from llama-swap, router presets, databases, processes, weights",
    "notifications": "Call a webhook or a command when a model fails or recovers",
    "metrics": "Scrape a watcher with Prometheus",
    "policy": "Limit what a definition may ask of the host",
    "files": "Files, environment variables and a damaged database",
    "exit-codes": "What the exit codes mean",
    "benchmarks": "How fast herdsman is, and how to measure it yourself",
    "testing": "How herdsman is tested, and how to repeat it",
}

/// The topic of that name.
pub(super) fn find(name: &str) -> Option<&'static Topic> {
    TOPICS.iter().find(|topic| topic.name == name)
}
