//! `herdsman help [COMMAND | TOPIC]`.
//!
//! | file | holds |
//! |---|---|
//! | `topics` | the pages, `topics/NAME.md` |
//! | `render` | Markdown to text for a terminal |
//! | `layout` | wrapping, and columns of a table |
//! | `pager` | `$PAGER` or `less`, on a terminal |
//! | `generated` | for tests: the tables that pages take from the code |

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod generated;
mod layout;
mod pager;
mod render;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
mod topics;

use anstyle::Style;
use clap::builder::PossibleValue;
use clap::{Args, CommandFactory};

use super::places::Refused;
use super::{ABOUT, Cli, Exit, output};
use crate::definition::closest;
use topics::TOPICS;

/// `herdsman help`
#[derive(Debug, Args)]
pub struct HelpArgs {
    /// A command (`herdsman help models list`) or a topic (`herdsman help definitions`); all of them without it.
    #[arg(value_name = "COMMAND|TOPIC")]
    names: Vec<String>,
}

/// Shows the page of a topic, the help of a command, or the list of both.
///
/// # Errors
/// Nothing has that name, or standard output cannot be written.
pub(super) fn run(args: &HelpArgs) -> anyhow::Result<Exit> {
    match &args.names[..] {
        [] => output::print(overview())?,
        [name] if let Some(topic) = topics::find(name) => pager::show(topic.text)?,
        names => output::print(help_of(names)?)?,
    }
    Ok(Exit::Converged)
}

/// The commands and topics, a line each.
fn overview() -> String {
    let (command, bold) = (Cli::command(), Style::new().bold().underline());
    let commands: Vec<_> = names_of_commands(&command).collect();
    let topics = TOPICS.iter().map(|topic| (topic.name.to_owned(), topic.summary.replace('`', "")));
    let about = ABOUT.lines().next().unwrap_or_default();
    let list = |entries: Vec<(String, String)>| layout::list(&entries, layout::width());
    format!(
        "{about}\n\n{bold}Usage:{bold:#} herdsman [OPTIONS] COMMAND\n\n{bold}Commands:{bold:#}\n{}\n\
         {bold}Topics:{bold:#}\n{}\n`herdsman help NAME` shows a command or a topic, `herdsman --help` the options that \
         every command takes.\n",
        list(commands),
        list(topics.collect()),
    )
}

/// Each command with what it does.
fn names_of_commands(command: &clap::Command) -> impl Iterator<Item = (String, String)> {
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.map(|command| {
        (command.get_name().to_owned(), command.get_about().map(ToString::to_string).unwrap_or_default())
    })
}

/// What `herdsman COMMAND… --help` prints.
///
/// # Errors
/// There is no such command.
fn help_of(names: &[String]) -> Result<String, Refused> {
    let mut command = Cli::command();
    command.build();
    for (depth, name) in names.iter().enumerate() {
        let next = command.find_subcommand(name).cloned();
        command = next.ok_or_else(|| unknown(name, &command, depth == 0))?;
    }
    Ok(command.render_help().ansi().to_string())
}

/// Says that `command` has no such subcommand, and there is no such topic if
/// topics were to be had, too.
fn unknown(name: &str, command: &clap::Command, at_the_top: bool) -> Refused {
    let topics = TOPICS.iter().map(|topic| topic.name).filter(|_| at_the_top);
    let known = command.get_subcommands().map(clap::Command::get_name).chain(topics);
    let kind = if at_the_top { "no command or topic" } else { "no such subcommand:" };
    let help = match closest(name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`herdsman help` lists all commands and topics".to_owned(),
    };
    Refused { exit: Exit::Usage, message: format!("{kind} `{name}`\nhelp: {help}") }
}

/// The command line with every name that `help` takes, for completions.
pub(super) fn command_to_complete() -> clap::Command {
    let command = Cli::command();
    let commands: Vec<_> = names_of_commands(&command).collect();
    let topics = TOPICS.iter().map(|topic| (topic.name.to_owned(), topic.summary.replace('`', "")));
    // clap keeps names for ever; this process ends once it has printed them.
    let value = |(name, about): (String, String)| PossibleValue::new(&*name.leak()).help(about);
    let names: Vec<_> = commands.into_iter().chain(topics).map(value).collect();
    command.mut_subcommand("help", |help| help.mut_arg("names", |arg| arg.value_parser(names)))
}

/// The topics for a manual page, which is plain text.
pub(super) fn for_the_manual() -> String {
    let topics = TOPICS.iter().map(|topic| format!("{}: {}", topic.name, topic.summary.replace('`', "")));
    format!("Topics, shown by herdsman help TOPIC:\n\n{}", topics.collect::<Vec<_>>().join("\n\n"))
}
