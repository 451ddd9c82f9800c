//! Options whose value is a path: makes them absolute, and writes them so that
//! llama-server splits a list at the right places.

use std::sync::Arc;

use super::PathRole;
use super::problem::ValueProblem;

/// A path as it goes to the command line.
pub(super) struct Resolved {
    /// The absolute path, with its `:SCALE` where it has one.
    pub text: Arc<str>,
    /// The path alone, if llama-server reads that file.
    pub input: Option<Arc<str>>,
}

/// Makes the path in `text` absolute. Messages call the option `key`.
pub(super) fn resolve(
    key: &str,
    text: &str,
    role: PathRole,
    resolve: &dyn Fn(&str) -> String,
) -> Result<Resolved, ValueProblem> {
    let (path, scale) = match role {
        PathRole::Input { scaled: true, .. } => split_scale(key, text)?,
        _ => (text, None),
    };
    if path.is_empty() {
        return Err(ValueProblem::new(format!("`{key}` is an empty path")).label("empty path"));
    }
    let absolute: Arc<str> = resolve(path).into();
    let text = scale.map_or_else(|| Arc::clone(&absolute), |scale| format!("{absolute}:{scale}").into());
    let input = matches!(role, PathRole::Input { .. }).then_some(absolute);
    Ok(Resolved { text, input })
}

/// Splits `FNAME:SCALE`. llama-server b10434 splits at the first `:` and refuses a
/// second, so a path cannot contain one.
fn split_scale<'a>(key: &str, text: &'a str) -> Result<(&'a str, Option<&'a str>), ValueProblem> {
    match text.rsplit_once(':') {
        Some((path, scale)) if !path.contains(':') && scale.parse::<f32>().is_ok_and(f32::is_finite) => {
            Ok((path, Some(scale)))
        }
        _ => Err(ValueProblem::new(format!("`{key}` takes a path and a scale, not `{text}`"))
            .label("not `path:scale`")
            .help(format!("write it as `{key} = [\"path:0.5\"]`"))),
    }
}

/// Writes one element of a comma-separated list of paths. llama-server b10434 reads
/// such a list as a CSV row: an element in double quotes may contain commas.
pub(super) fn csv(text: &str) -> String {
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
