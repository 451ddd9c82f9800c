//! The environment an instance gets: a fixed choice of herdsman's own, so that
//! a server started by hand, by cron and by systemd is the same.
//!
//! Later ones win: inherited, defaults, `[env]`, secrets, markers.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::marker::{DEFINITION, INSTANCE, MODEL, SPEC, STATE};
use crate::definition::{SecretError, read_secret};
use crate::llama::inherited::is_inherited;
use crate::model::Launch;

/// Given unless inherited or stated: without them a crash runs gdb, and
/// servers that start together keep each other's cores busy waiting.
const DEFAULTS: &[(&str, &str)] = &[("GGML_NO_BACKTRACE", "1"), ("OMP_WAIT_POLICY", "passive")];

/// The environment for `launch`, from herdsman's `own`.
///
/// # Errors
/// The variable whose secret cannot be had.
pub(super) fn build(
    launch: &Launch,
    state_id: &str,
    own: impl Iterator<Item = (OsString, OsString)>,
) -> Result<BTreeMap<OsString, OsString>, (String, SecretError)> {
    let mut environment: BTreeMap<OsString, OsString> =
        DEFAULTS.iter().map(|(name, value)| (name.into(), value.into())).collect();
    environment.extend(own.filter(|(name, _)| is_inherited(name)));
    environment.extend(launch.env.iter().map(|(name, value)| (name.into(), value.into())));
    for (name, source) in &launch.secrets {
        let value = read_secret(source).map_err(|error| (name.clone(), error))?;
        environment.insert(name.into(), value.into());
    }
    let Launch { id, model, spec, definition, .. } = launch;
    let markers =
        [(STATE, state_id), (INSTANCE, &id.0), (MODEL, model.as_str()), (SPEC, &spec.0), (DEFINITION, definition)];
    environment.extend(markers.map(|(name, value)| (name.into(), value.into())));
    Ok(environment)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::model::{InstanceId, ModelName, SecretSource, SpecHash};

    fn launch() -> Launch {
        Launch {
            id: InstanceId("i".into()),
            model: ModelName::parse("m").unwrap(),
            spec: SpecHash("v1:0".into()),
            definition: "/d/m.toml".into(),
            binary: "/bin/true".into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            log: "/dev/null".into(),
            download: None,
            socket: None,
        }
    }

    fn built(launch: &Launch, own: &[(&str, &str)]) -> BTreeMap<String, String> {
        let own = own.iter().map(|(name, value)| (name.into(), value.into()));
        let text = |text: OsString| text.into_string().unwrap();
        build(launch, "s", own).unwrap().into_iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    #[test]
    fn what_configures_the_server_or_belongs_to_herdsman_is_not_inherited() {
        let foreign = [
            "LLAMA_ARG_CTX_SIZE",
            "LLAMA_API_KEY",
            "LLAMA_CACHE",
            "LLAMA_SERVER_ROUTER_PORT",
            "NOTIFY_SOCKET",
            "WATCHDOG_USEC",
            "WATCHDOG_PID",
            "HF_TOKEN",
            "LD_PRELOAD",
            "HERDSMAN_STATE_DIR",
            "OMP_NUM_THREADS",
        ];
        let own: Vec<_> = foreign.iter().map(|name| (*name, "x")).collect();
        let environment = built(&launch(), &own);
        assert!(foreign.iter().all(|name| !environment.contains_key(*name)), "{environment:?}");
    }

    #[test]
    fn paths_locale_proxies_and_gpu_variables_are_inherited() {
        let wanted = [
            "PATH",
            "HOME",
            "LC_ALL",
            "LD_LIBRARY_PATH",
            "CUDA_VISIBLE_DEVICES",
            "GGML_CUDA_X",
            "VK_ICD_FILENAMES",
            "HSA_OVERRIDE_GFX_VERSION",
            "XDG_CACHE_HOME",
            "https_proxy",
            "HF_HOME",
            "SSL_CERT_FILE",
        ];
        let own: Vec<_> = wanted.iter().map(|name| (*name, "x")).collect();
        let environment = built(&launch(), &own);
        assert!(wanted.iter().all(|name| environment[*name] == "x"), "{environment:?}");
    }

    #[test]
    fn env_wins_over_defaults_and_inherited_and_the_markers_over_all() {
        let mut launch = launch();
        launch.env = BTreeMap::from([
            ("OMP_WAIT_POLICY".into(), "active".into()),
            ("PATH".into(), "/mine".into()),
            ("HERDSMAN_STATE".into(), "forged".into()),
        ]);
        let environment = built(&launch, &[("PATH", "/bin"), ("GGML_NO_BACKTRACE", "0")]);
        assert_eq!(environment["OMP_WAIT_POLICY"], "active");
        assert_eq!(environment["PATH"], "/mine");
        assert_eq!(environment["GGML_NO_BACKTRACE"], "0");
        assert_eq!(environment["HERDSMAN_STATE"], "s");
        assert_eq!(environment["HERDSMAN_INSTANCE"], "i");
        assert_eq!(environment["HERDSMAN_DEFINITION"], "/d/m.toml");
        assert_eq!(built(&self::launch(), &[])["GGML_NO_BACKTRACE"], "1");
    }

    #[test]
    fn names_the_variable_of_a_secret_that_cannot_be_read() {
        let mut launch = launch();
        launch.secrets.insert("LLAMA_API_KEY".into(), SecretSource::File("/no/such/key".into()));
        let (name, error) = build(&launch, "s", std::iter::empty()).unwrap_err();
        assert_eq!(name, "LLAMA_API_KEY");
        assert!(matches!(error, SecretError::Unreadable { .. }));
    }
}
