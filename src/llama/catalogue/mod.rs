//! The options of llama-server, and how a TOML value becomes one of its arguments,
//! normalised and checked.
//!
//! ```text
//!   llama-server --help -> help    entries as printed
//!   value_types.txt     -> types   what the help does not say
//!                          repeated   nor how an option takes several values
//!                            |
//!                       option::OptionSpec   one option
//!                            |
//!       find(key) -> Catalogue -> setting(value) -> Setting
//! ```
//!
//! Invariants:
//! - An option has one canonical key in every spelling, and keeps it when another
//!   llama-server prints its names in another order: the spec hash is made of keys.
//! - Equal values are equal after normalising: `0.7` and `7e-1`, `8192` and
//!   `8_192`, an array and its joined text.
//! - A value passes only if llama-server reads it as it is written; if that is
//!   unknown, its own dry run decides ([`binary::dry_run`]).

mod argument;
pub mod binary;
mod help;
mod number;
mod option;
mod owned;
mod path;
mod problem;
mod repeated;
mod suggest;
#[cfg(test)]
mod tests;
mod types;
mod value;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use option::Spelling;
pub use option::{ListStyle, OptionSpec, PathRole, ValueKind};
pub use problem::ValueProblem;
pub use repeated::Repeated;
pub use types::Range;
pub use value::Setting;

/// The help of llama-server b10434, used if no binary is present.
pub(crate) const EMBEDDED_HELP: &str = include_str!("help-b10434.txt");

/// A help text with fewer options is not llama-server's: b10434 has 248.
const FEWEST_OPTIONS: usize = 40;

/// Every option of one llama-server.
#[derive(Debug)]
pub struct Catalogue {
    options: Vec<OptionSpec>,
    /// Where each long name is, without its leading dashes.
    long: HashMap<String, Named>,
    /// Where each short name is, without its dash.
    short: HashMap<String, usize>,
    /// Where each canonical key is.
    keys: HashMap<String, usize>,
}

/// What a long name stands for.
#[derive(Clone, Copy, Debug)]
struct Named {
    index: usize,
    negated: bool,
}

/// What a key matches.
#[derive(Debug)]
pub enum OptionMatch<'a> {
    /// An option to set.
    Option {
        /// The option.
        option: &'a OptionSpec,
        /// Whether the key is its negation (`no_mmap`).
        negated: bool,
    },
    /// An option that cannot be set in a definition's `[parameters]`.
    Owned {
        /// What to do instead, as a help sentence.
        instead: &'a str,
    },
    /// No option has this name.
    Unknown {
        /// The key that was probably meant.
        suggestion: Option<String>,
    },
}

/// Why a text is not the help of llama-server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelpError {
    /// It lists hardly any options.
    #[error("its --help lists {found} options, llama-server's lists over 200")]
    TooFewOptions {
        /// How many options it lists.
        found: usize,
    },
    /// It lacks an option that every llama-server has.
    #[error("its --help does not list --{name}")]
    Lacks {
        /// The option.
        name: &'static str,
    },
}

impl Catalogue {
    /// Returns the catalogue of the pinned llama-server, b10434.
    #[must_use]
    pub fn embedded() -> Arc<Self> {
        static EMBEDDED: LazyLock<Arc<Catalogue>> = LazyLock::new(|| Arc::new(Catalogue::build(EMBEDDED_HELP, None)));
        Arc::clone(&EMBEDDED)
    }

    /// Builds the catalogue of the llama-server that printed `help`. Options that
    /// the pinned one also has, under any name, keep its keys and value types.
    ///
    /// # Errors
    /// The text is not llama-server's help.
    pub fn from_help(help: &str) -> Result<Self, HelpError> {
        let catalogue = Self::build(help, Some(&Self::embedded()));
        if catalogue.options.len() < FEWEST_OPTIONS {
            return Err(HelpError::TooFewOptions { found: catalogue.options.len() });
        }
        match ["model", "port", "ctx-size"].into_iter().find(|name| !catalogue.long.contains_key(*name)) {
            Some(name) => Err(HelpError::Lacks { name }),
            None => Ok(catalogue),
        }
    }

    /// Finds what `key` means, as a person wrote it: any long name or negation,
    /// with `_` or `-`.
    #[must_use]
    pub fn find(&self, key: &str) -> OptionMatch<'_> {
        let name = key.replace('_', "-");
        let Some(Named { index, negated }) = self.long.get(&name).copied() else {
            return OptionMatch::Unknown { suggestion: self.suggestion(name.trim_start_matches('-')) };
        };
        let option = &self.options[index];
        match &option.refusal {
            Some(instead) => OptionMatch::Owned { instead },
            None => OptionMatch::Option { option, negated },
        }
    }

    /// Returns the option of a canonical key, even one that [`Catalogue::find`]
    /// refuses.
    #[must_use]
    pub fn get(&self, canonical: &str) -> Option<&OptionSpec> {
        self.options.get(*self.keys.get(canonical)?)
    }

    /// Returns the canonical key of the option called `name` (with `_` or `-`), or
    /// of the option that it negates.
    #[must_use]
    pub fn canonical(&self, name: &str) -> Option<&str> {
        let name = name.trim_start_matches('-').replace('_', "-");
        self.long.get(&name).map(|named| self.options[named.index].key.as_str())
    }

    /// Iterates over every option, in the order of the help.
    pub fn options(&self) -> impl Iterator<Item = &OptionSpec> {
        self.options.iter()
    }

    /// Returns every name that [`Catalogue::find`] finds, dashed and in order;
    /// `true`: it is the negation of its option.
    #[must_use]
    pub fn names(&self) -> BTreeMap<&str, (&OptionSpec, bool)> {
        self.long.iter().map(|(name, named)| (name.as_str(), (&self.options[named.index], named.negated))).collect()
    }

    fn by_long(&self, name: &str) -> Option<&OptionSpec> {
        self.options.get(self.long.get(name)?.index)
    }

    fn by_short(&self, name: &str) -> Option<&OptionSpec> {
        self.options.get(*self.short.get(name)?)
    }

    fn long_names(&self) -> impl Iterator<Item = &str> {
        self.long.keys().map(String::as_str)
    }

    fn build(help: &str, embedded: Option<&Self>) -> Self {
        let measured = types::measured();
        let entries = help::entries(help);
        let mut catalogue = Self {
            options: Vec::with_capacity(entries.len()),
            long: HashMap::with_capacity(2 * entries.len()),
            short: HashMap::with_capacity(entries.len()),
            keys: HashMap::with_capacity(entries.len()),
        };
        for entry in &entries {
            let pinned = embedded.and_then(|embedded| pinned(embedded, &entry.names));
            let Some(key) = catalogue.free_key(pinned, &entry.names) else { continue };
            let same_value = embedded.is_none() || pinned.is_some_and(|pinned| pinned.metavar == entry.metavar);
            let known = measured.get(key.as_str()).filter(|_| same_value);
            catalogue.add(OptionSpec::new(entry, key, known, same_value));
        }
        catalogue
    }

    /// Returns the canonical key: the pinned one if it is still free, or else the
    /// first long name. `None` for an option with short names only.
    fn free_key(&self, pinned: Option<&OptionSpec>, names: &[&str]) -> Option<String> {
        if let Some(pinned) = pinned.filter(|pinned| !self.keys.contains_key(&pinned.key)) {
            return Some(pinned.key.clone());
        }
        // The one option whose first name is not the one people write.
        let name = names.iter().find_map(|name| match name.strip_prefix("--")? {
            "temp" => Some("temperature"),
            name => Some(name),
        })?;
        let key = name.replace('-', "_");
        (!self.keys.contains_key(&key)).then_some(key)
    }

    fn add(&mut self, option: OptionSpec) {
        let index = self.options.len();
        self.keys.insert(option.key.clone(), index);
        let bare = |name: &str| name.trim_start_matches('-').to_owned();
        for name in &option.names {
            self.long.insert(bare(name), Named { index, negated: false });
        }
        for (name, spelling) in &option.spellings {
            match spelling {
                Spelling::Negation => self.long.insert(bare(name), Named { index, negated: true }).is_some(),
                Spelling::Short => self.short.insert(bare(name), index).is_some(),
            };
        }
        self.options.push(option);
    }
}

/// The pinned option that shares a name with `names`.
fn pinned<'a>(embedded: &'a Catalogue, names: &[&str]) -> Option<&'a OptionSpec> {
    names.iter().find_map(|name| embedded.by_long(name.strip_prefix("--")?))
}
