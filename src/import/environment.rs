//! Variables of a llama-server: options, secrets, and the rest.

use super::model::Model;
use super::options::{self, Given, Options};
use super::remark::{Place, Why};

/// The secrets that have a key, by variable.
const SECRETS: [(&str, &str); 2] = [("LLAMA_API_KEY", "api_key"), ("HF_TOKEN", "hf_token")];

/// States in `model` what a variable states. Read the environment before the
/// command line, which wins.
pub fn read(options: &Options<'_>, model: &mut Model, name: &str, value: &str, place: &Place) {
    if let Some((_, key)) = SECRETS.iter().find(|(variable, _)| *variable == name) {
        return model.secret(key, options::secret(&Given::Text(value.to_owned())), place);
    }
    if let Some((option, negated)) = options.catalogue.variable(name) {
        // What turns an option off does so by being there.
        let given = if negated { Given::Bare } else { Given::Text(value.to_owned()) };
        options.set(model, option, negated, &given, name, place);
        if !super::names_a_secret(name) {
            model.variables.insert(option.key.clone(), (place.clone(), format!("{name}={value}")));
        }
        return;
    }
    if super::names_a_secret(name) || super::secret::is_in_url(value) {
        model.remark(place, format!("{name}=…"), Why::SecretVariable);
        return;
    }
    let shown = format!("{name}={value}");
    if name.is_empty() || name.contains('\0') || value.contains('\0') {
        model.remark(place, shown, Why::BadValue("that is no variable".to_owned()));
    } else if let Some(instead) = options.catalogue.owned_env(name) {
        model.remark(place, shown, Why::Owned(instead));
    } else {
        model.env.insert(name.to_owned(), value.to_owned());
    }
}
