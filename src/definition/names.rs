//! One copy of each name that definitions share.

use std::collections::HashSet;
use std::sync::Arc;

/// The names of options, variables, labels and fields, each kept once however many
/// files use it. Every reading thread has its own, so that none waits for another's
/// reference counts.
#[derive(Debug, Default)]
pub(crate) struct Names(HashSet<Arc<str>>);

impl Names {
    /// The copy of `name`.
    pub fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let new: Arc<str> = name.into();
        self.0.insert(Arc::clone(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once() {
        let mut names = Names::default();
        let (first, again) = (names.shared("ctx_size"), names.shared("ctx_size"));
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(&*names.shared("model"), "model");
    }
}
