//! `_groups.toml`: which groups there are, and how many of their members run at
//! once.
//!
//! If the file is broken, nobody knows how much room a group has: every
//! definition that names one is unresolved, so its model stays as it is. The
//! others do not depend on it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::directory::{Directory, Stamp};
use super::keys::{GroupKey, Key};
use super::names::Names;
use super::source::Source;
use super::value::{Located, Reader, Value};
use super::{paths, suggest, syntax};
use crate::model::{Definition, DesiredState, Diagnostic, Group, ModelName};

/// The name of the file of groups.
pub(crate) const FILE_NAME: &str = "_groups.toml";

/// What the file of groups says, and which version of it.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// Every group; none if the file is broken.
    pub known: BTreeMap<Arc<str>, Group>,
    /// Whether the file has errors.
    pub is_broken: bool,
    /// `None`: there is no such file.
    pub stamp: Option<Stamp>,
    /// The file as people see it.
    file: Arc<str>,
    text: String,
}

impl Groups {
    /// Reads the file in `dir`, if it `is_there`, with its problems.
    pub fn read(directory: Directory<'_>, dir: &Path, cwd: &Path, is_there: bool) -> (Self, Vec<Diagnostic>) {
        let path = dir.join(FILE_NAME);
        let file: Arc<str> = paths::shown(cwd, &path).into();
        if !is_there {
            return (Self { file, ..Self::default() }, Vec::new());
        }
        let mut buffer = Vec::new();
        let (stamp, text) = directory.read(OsStr::new(FILE_NAME), &mut buffer);
        let (known, problems, text) = match text {
            Err(problem) => {
                (BTreeMap::new(), vec![Diagnostic::error(Arc::clone(&file), problem.message).help(problem.help)], "")
            }
            Ok(text) => {
                let (known, problems) = parse(&Source::new(path.to_string_lossy().into(), Arc::clone(&file), text));
                (known, problems, text)
            }
        };
        let is_broken = problems.iter().any(Diagnostic::is_error);
        let known = if is_broken { BTreeMap::new() } else { known };
        (Self { known, is_broken, stamp, file, text: text.to_owned() }, problems)
    }

    /// Whether both say the same.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.is_broken == other.is_broken && self.text == other.text
    }

    /// Reports the groups in `named` that do not exist, unless nobody knows.
    pub fn check(&self, reader: &mut Reader<'_, '_>, named: Option<&Located<Named>>) {
        for (name, span) in named.iter().flat_map(|named| &named.value.0).filter(|_| !self.is_broken) {
            if self.known.contains_key(name) {
                continue;
            }
            let add = format!("add the lines `[{name}]` and `max_running = 1` to {}", self.file);
            let help = match suggest::closest(name, self.known.keys().map(|known| &**known)) {
                Some(near) => format!("did you mean `{near}`? If not, {add}"),
                None => add,
            };
            reader.problem(span.clone(), format!("there is no group `{name}`"), "", help);
        }
    }

    /// Warns about groups whose members that always run are more than fit.
    pub fn overfull<'d>(&self, definitions: impl Iterator<Item = &'d Arc<Definition>> + Clone) -> Vec<Diagnostic> {
        let source = Source::new(Arc::clone(&self.file), Arc::clone(&self.file), &self.text);
        let warning = |(name, group): (&Arc<str>, &Group)| {
            let runs = |definition: &&Arc<Definition>| {
                definition.state == DesiredState::Running && definition.placement.groups.contains(name)
            };
            let running: Vec<String> = definitions.clone().filter(runs).map(|d| format!("`{}`", d.name)).collect();
            (running.len() > group.max_running).then(|| {
                let max = group.max_running;
                let message =
                    format!("{} always run, but group `{name}` has `max_running = {max}`", running.join(", "));
                let help = format!(
                    "set `max_running = {}` or more, or `state = \"on_demand\"` for those that may wait",
                    running.len()
                );
                source.error_at_line(group.origin.line, &max.to_string(), message).help(help).warning()
            })
        };
        self.known.iter().filter_map(warning).collect()
    }
}

/// The groups that a file names, in order and without repetition, each with its
/// place.
#[derive(Clone, Debug)]
pub(super) struct Named(Vec<(Arc<str>, Range<usize>)>);

impl Named {
    /// Whether it names none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Only the names.
    pub fn into_names(self) -> Vec<Arc<str>> {
        self.0.into_iter().map(|(name, _)| name).collect()
    }
}

/// Reads `group`: a name, or an array of names.
pub(super) fn named(reader: &mut Reader<'_, '_>, value: &Value<'_>) -> Option<Located<Named>> {
    let key = Key::Group.as_str();
    let items = match value.get_ref() {
        DeValue::Array(items) => &items[..],
        DeValue::String(_) => std::slice::from_ref(value),
        _ => {
            reader.wrong_kind(key, value, "a string or an array of strings", "write `group = \"chat\"`");
            return None;
        }
    };
    let mut named: Vec<(Arc<str>, Range<usize>)> = Vec::new();
    for item in items {
        if reader.is_full() {
            break;
        }
        let Some(text) = reader.element(key, item) else { continue };
        if is_name(reader, text, item.span()) && !named.iter().any(|(known, _)| **known == *text) {
            named.push((reader.names.shared(text), item.span()));
        }
    }
    Some(reader.located(Named(named), value.span()))
}

/// Groups are named like models.
fn is_name(reader: &mut Reader<'_, '_>, text: &str, span: Range<usize>) -> bool {
    let is_name = ModelName::parse(text).is_ok();
    if !is_name {
        let help = "use at most 63 letters, digits, `.`, `_` and `-`, starting with a letter or digit";
        reader.problem(span, format!("{text:?} is not a valid group name"), "", help);
    }
    is_name
}

fn parse(source: &Source<'_>) -> (BTreeMap<Arc<str>, Group>, Vec<Diagnostic>) {
    let (table, errors) = DeTable::parse_recoverable(source.text);
    let table = table.get_ref();
    if !errors.is_empty() {
        return (BTreeMap::new(), syntax::problems(source, table, &errors));
    }
    let mut names = Names::default();
    let mut reader = Reader::new(source, &mut names);
    let mut groups = BTreeMap::new();
    for (name, value) in table {
        if reader.is_full() {
            break;
        }
        if GroupKey::find(name.get_ref()).is_some() && value.get_ref().as_table().is_none() {
            let help = "put it under the group's name: `[chat]`";
            reader.problem(name.span(), format!("`{}` belongs to a group", name.get_ref()), "", help);
        } else if let (true, Some(table)) =
            (is_name(&mut reader, name.get_ref(), name.span()), reader.table(name.get_ref(), value))
            && let Some(group) = group(&mut reader, name.get_ref(), name.span(), table)
        {
            groups.insert(Arc::from(&**name.get_ref()), group);
        }
    }
    (groups, reader.problems)
}

fn group(reader: &mut Reader<'_, '_>, name: &str, span: Range<usize>, table: &DeTable<'_>) -> Option<Group> {
    let (mut max_running, before) = (None, reader.problems.len());
    for (key, value) in table {
        if reader.is_full() {
            break;
        }
        match GroupKey::find(key.get_ref()) {
            Some(GroupKey::MaxRunning) => {
                let help = "set how many members run at once: 1 or more";
                max_running = reader.integer(key.get_ref(), value, 1..=u32::MAX, help);
            }
            None => unknown(reader, key.get_ref(), key.span(), name),
        }
    }
    if max_running.is_none() && reader.problems.len() == before {
        reader.problem(span, format!("`[{name}]` has no `max_running`"), "", "add `max_running = 1`");
    }
    let Located { value, origin, span: _ } = max_running?;
    Some(Group { max_running: usize::try_from(value).unwrap_or(usize::MAX), origin })
}

fn unknown(reader: &mut Reader<'_, '_>, key: &str, span: Range<usize>, group: &str) {
    let help = match suggest::nearest(key, GroupKey::NAMES.iter().copied()) {
        _ if key == "members" => format!("a model names its groups itself: `group = \"{group}\"` in its definition"),
        _ if Key::find(key).is_some() => format!("`{key}` goes into the definition of each model"),
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("a group takes {}", GroupKey::NAMES.join(", ")),
    };
    reader.problem(span, format!("unknown key `{key}` in `[{group}]`"), "", help);
}
