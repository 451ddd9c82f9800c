//! Policies and what they refuse, as people read it: these texts are the product.
#![allow(clippy::unwrap_used, reason = "tests")]

mod hostile;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::*;
use crate::definition::{Catalogue, Catalogues, LoadOptions, Loader, ReadFrom, render};
use crate::model::{Desired, OptionSetting, OptionValue, Spec};

struct Pinned;

impl Catalogues for Pinned {
    fn catalogue(&self, _binary: Option<&str>) -> Arc<Catalogue> {
        Catalogue::embedded()
    }
}

/// `models.d`, `weights` with `a.gguf`, and a `policy.toml` outside of both.
struct Site(tempfile::TempDir);

impl Site {
    fn new(definition: &str) -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        for directory in ["models.d", "weights"] {
            fs::create_dir(site.path(directory)).unwrap();
        }
        fs::write(site.path("weights/a.gguf"), "x").unwrap();
        site.write("models.d/a.toml", definition)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(self, name: &str, text: &str) -> Self {
        fs::write(self.path(name), text).unwrap();
        self
    }

    fn load(&self) -> Arc<Desired> {
        let options = LoadOptions {
            dir: Path::new("models.d"),
            from: ReadFrom::Itself,
            cwd: self.0.path(),
            state_key: [7; 32],
            catalogues: &Pinned,
        };
        Loader::default().load(&options).unwrap()
    }

    /// The policy `text`, `$` being this directory.
    fn policy(&self, text: &str) -> Policy {
        let text = text.replace('$', self.0.path().canonicalize().unwrap().to_str().unwrap());
        file::parse(&"/etc/herdsman/policy.toml".into(), &text)
            .unwrap_or_else(|problems| panic!("{}", render(&problems, false)))
    }

    /// What is left of the definitions, and the diagnostics.
    fn enforced(&self, policy: &str) -> (usize, String) {
        let mut desired = self.load();
        assert_eq!(desired.diagnostics, [], "wrong without a policy");
        self.policy(policy).enforce(&mut desired, ReadFrom::Itself);
        let root = self.0.path().canonicalize().unwrap();
        let said = render(&desired.diagnostics, false).replace(root.to_str().unwrap(), "$");
        (desired.definitions.len(), said.replace(self.0.path().to_str().unwrap(), "$"))
    }

    fn refused(&self, policy: &str) -> String {
        let (left, said) = self.enforced(policy);
        assert_eq!(left, 0, "{said}");
        said
    }
}

const MODEL: &str = "model = \"../weights/a.gguf\"\n";
const ROOTS: &str = "model_roots = [\"$/weights\"]\n";

fn problems(policy: &str) -> String {
    render(&file::parse(&"/etc/herdsman/policy.toml".into(), policy).unwrap_err(), false)
}

#[test]
fn reports_all_problems_of_a_policy_at_once() {
    insta::assert_snapshot!(problems(
        "model_rots = []\nfile_roots = \"/srv\"\nbinaries = [\"llama-server\"]\nhosts = [\"example.org\", \"/run/a.sock\"]\n\
         ports = \"80-\"\nmax_models = -1\ndownloads = [\"ggml-org/x\", \"https://good.org*\"]\n\
         deny_options = [\"tolls\"]\nallow_env = [\"A=B\"]\nowners = [\"root\"]\n"
    ));
    insta::assert_snapshot!(problems("model_roots = [\n"));
    // Following the help fixes it.
    let said = problems("hosts = [1]\n");
    assert!(said.contains("= help: put it in quotes: `\"1\"`\n"), "{said}");
}

#[test]
fn the_example_is_a_policy_and_holds_every_key() {
    let text = include_str!("../../../examples/policy/policy.toml");
    let policy =
        file::parse(&"policy.toml".into(), text).unwrap_or_else(|problems| panic!("{}", render(&problems, false)));
    let missing = Key::ALL.iter().find(|key| !policy.lines.contains_key(key));
    assert_eq!(missing, None);
}

#[test]
fn leaves_allowed_definitions_alone() {
    let definition = format!(
        "{MODEL}host = \"::1\"\nport = 8101\n[parameters]\nctx_size = 1\nno_agent = true\n[env]\nCUDA_VISIBLE_DEVICES = \"0\"\n"
    );
    assert_eq!(Site::new(&definition).enforced(ROOTS), (1, String::new()));
}

#[test]
fn an_empty_policy_allows_no_weights() {
    insta::assert_snapshot!(Site::new(MODEL).refused(""));
}

#[test]
fn reports_every_breach_at_its_line() {
    let definition = format!(
        "{MODEL}host = \"0.0.0.0\"\nport = 80\nbinary = \"/opt/evil/llama-server\"\n\
         [parameters]\ntools = \"all\"\nslot-save-path = \"/etc\"\nwebui_mcp_proxy = true\nprops = true\n\
         chat_template_file = \"/etc/shadow\"\nhf_file = \"../../x\"\n\
         [env]\nLD_PRELOAD = \"/tmp/x.so\"\nMY_VAR = \"1\"\nOMP_PLACES = \"cores\"\n\
         [secrets]\napi_key = {{ file = \"/etc/shadow\" }}\nhf_token = {{ env = \"AWS_SECRET\" }}\n"
    );
    insta::assert_snapshot!(Site::new(&definition).refused(&format!(
        "{ROOTS}deny_options = [\"props\"]\ndeny_env = [\"OMP_*\"]\nhosts = [\"10.0.0.1\", \"127.0.0.1\"]\nsecret_env = [\"LLAMA_KEY_*\"]\n"
    )));
}

#[test]
fn reports_a_breach_in_the_defaults_at_its_line() {
    let site = Site::new(MODEL).write("models.d/_defaults.toml", "[parameters]\nmedia_path = \"/etc\"\n");
    insta::assert_snapshot!(site.refused(ROOTS));
}

#[test]
fn a_link_or_dots_do_not_lead_out_of_a_root() {
    let site = Site::new("model = \"../weights/linked.gguf\"\n").write("secret.gguf", "x");
    symlink("../secret.gguf", site.path("weights/linked.gguf")).unwrap();
    insta::assert_snapshot!(site.refused(ROOTS));
    let dots = site.write("models.d/a.toml", "model = \"../weights/../secret.gguf\"\n");
    assert!(dots.refused(ROOTS).contains("$/secret.gguf for `model`\n"));
    // A directory on the way may be the link.
    symlink("..", dots.path("weights/up")).unwrap();
    let through = dots.write("models.d/a.toml", "model = \"../weights/up/secret.gguf\"\n");
    assert!(through.refused(ROOTS).contains("leads to $/secret.gguf"));
    let part = through.write("models.d/a.toml", "model = \"../weights/s-00001-of-00002.gguf\"\n");
    fs::write(part.path("weights/s-00001-of-00002.gguf"), "x").unwrap();
    symlink("../secret.gguf", part.path("weights/s-00002-of-00002.gguf")).unwrap();
    assert!(part.refused(ROOTS).contains("s-00002-of-00002.gguf for `model`: it leads to $/secret.gguf"));
}

#[test]
fn a_path_through_proc_is_within_no_root() {
    // llama-server's `/proc/self` is not herdsman's: it would open another file.
    let own = format!("/proc/{}/root$/weights/a.gguf", std::process::id());
    let everywhere = "model_roots = [\"/\"]\nfile_roots = [\"/\"]\nsecret_roots = [\"/\"]\nsocket_roots = [\"/\"]\n\
        binaries = [\"/\"]\nwrite_roots = [\"/\"]\nallow_options = [\"slot_save_path\"]\n";
    let fields = [
        "model = \"@\"",
        "model = \"../weights/a.gguf\"\nbinary = \"@\"",
        "model = \"../weights/a.gguf\"\nhost = \"@.sock\"",
        "model = \"../weights/a.gguf\"\n[parameters]\nchat_template_file = \"@\"",
        "model = \"../weights/a.gguf\"\n[parameters]\nlora_scaled = [\"@:0.5\"]",
        "model = \"../weights/a.gguf\"\n[parameters]\nslot_save_path = \"@\"",
        "model = \"../weights/a.gguf\"\n[secrets]\napi_key = { file = \"@\" }",
    ];
    let ways = ["/proc/self/root$/weights/a.gguf", "/proc/thread-self/root$/weights/a.gguf", &own, "$/way/a.gguf"];
    for (field, way) in fields.iter().flat_map(|field| ways.map(|way| (field, way))) {
        let site = Site::new(MODEL);
        symlink(Path::new("/proc/self/root").join(site.path("weights").strip_prefix("/").unwrap()), site.path("way"))
            .unwrap();
        let way = way.replace('$', site.0.path().to_str().unwrap());
        let site = site.write("models.d/a.toml", &format!("{}\n", field.replace('@', &way)));
        let said = site.refused(everywhere);
        assert!(said.contains("it goes through /proc"), "{said}");
    }
    insta::assert_snapshot!(Site::new("model = \"/proc/self/cwd/a.gguf\"\n").refused(ROOTS));
    let spec = Spec { host: "/dev/fd/3/a.sock".into(), ..Spec::default() };
    let refusal = Site::new(MODEL).policy("socket_roots = [\"/run\"]").refusal(&spec).unwrap();
    assert!(refusal.contains("use its real path: "), "{refusal}");
    assert!(Site::new(MODEL).policy(everywhere).allows_binary(Path::new("/proc/self/exe")).is_err());
}

#[test]
fn a_definition_that_is_a_link_through_proc_is_refused() {
    let site = Site::new(MODEL);
    let models = site.path("models.d").canonicalize().unwrap();
    fs::rename(models.join("a.toml"), models.join("kept")).unwrap();
    symlink("kept", models.join("a.toml")).unwrap();
    assert_eq!(site.enforced(ROOTS).0, 1);
    fs::remove_file(models.join("a.toml")).unwrap();
    symlink(format!("/proc/self/root{}/kept", models.display()), models.join("a.toml")).unwrap();
    assert!(site.refused(ROOTS).contains("for a definition: it goes through /proc"));
}

#[test]
fn a_download_is_allowed_by_its_source() {
    let allowed = |line: &str, downloads: &str| Site::new(line).enforced(&format!("downloads = [{downloads}]")).0 == 1;
    assert!(allowed("hf_repo = \"ggml-org/x:Q4\"", "\"hf:ggml-org/*\""));
    assert!(!allowed("hf_repo = \"evil/x\"", "\"hf:ggml-org/*\""));
    assert!(!allowed("hf_repo = \"ggml-org/x\"", ""));
    let url = "\"https://good.org/m/*\"";
    assert!(allowed("model_url = \"https://good.org/m/x.gguf\"", url));
    for evil in [
        "https://good.org@evil.org/m/x",
        "https://good.org/m/../x",
        "https://good.org/m/%2e%2e/x",
        "http://good.org/m/x",
    ] {
        assert!(!allowed(&format!("model_url = \"{evil}\""), url), "{evil}");
    }
}

#[test]
fn refuses_an_unreviewed_option_until_it_is_allowed() {
    let site = Site::new(MODEL);
    let setting = OptionSetting { value: OptionValue::One("x".into()), args: Vec::new() };
    let spec = Spec {
        host: "127.0.0.1".into(),
        options: [("brand_new".into(), setting)].into_iter().collect(),
        ..Spec::default()
    };
    let refusal = site.policy("").refusal(&spec).unwrap();
    assert!(refusal.contains("`brand_new`: this version of herdsman does not know"), "{refusal}");
    assert_eq!(site.policy("allow_options = [\"--brand-new\"]").refusal(&spec), None);
}

#[test]
fn an_allowed_option_still_writes_only_to_write_roots() {
    let site = Site::new(&format!("{MODEL}[parameters]\nslot_save_path = \"../slots\"\n"));
    let allow = format!("{ROOTS}allow_options = [\"slot-save-path\"]\n");
    assert!(site.refused(&allow).contains("$/slots for `slot_save_path`"));
    assert_eq!(site.enforced(&format!("{allow}write_roots = [\"$/slots\"]")).0, 1);
}

#[test]
fn a_pattern_does_not_allow_what_does_harm_and_its_name_does() {
    let site = Site::new(&format!("{MODEL}[env]\nGGML_BACKEND_PATH = \"/tmp/x.so\"\nGGML_OTHER = \"1\"\n"));
    let said = site.refused(&format!("{ROOTS}allow_env = [\"GGML_*\"]"));
    assert!(said.contains("`GGML_BACKEND_PATH`") && !said.contains("variable `GGML_OTHER`"), "{said}");
    assert_eq!(site.enforced(&format!("{ROOTS}allow_env = [\"GGML_*\", \"GGML_BACKEND_PATH\"]")).0, 1);
}

#[test]
fn one_model_too_many_blocks_all_changes() {
    let site = Site::new(MODEL).write("models.d/b.toml", MODEL);
    assert_eq!(site.enforced(&format!("{ROOTS}max_models = 2")).0, 2);
    insta::assert_snapshot!(site.refused(&format!("{ROOTS}max_models = 1")));
}

#[test]
fn a_named_policy_must_exist() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy.toml");
    let current = |path: &Path| PolicySource::new(Some(path), dir.path()).current();
    assert!(matches!(current(&path), Err(PolicyError::Missing(_))));
    // A dangling link was meant to be a policy.
    symlink("nowhere", &path).unwrap();
    assert!(matches!(current(&path), Err(PolicyError::Invalid(_))));
    fs::remove_file(&path).unwrap();
    fs::write(&path, "max_models = 1\n").unwrap();
    let mut source = PolicySource::new(Some(&path), dir.path());
    let first = source.current().unwrap().unwrap();
    assert!(Arc::ptr_eq(&first, &source.current().unwrap().unwrap()), "it is not parsed again");
    fs::write(&path, "max_models = 2\n").unwrap();
    assert_eq!(source.current().unwrap().unwrap().max_models, Some(2));
}

#[test]
fn no_policy_does_harm() {
    let words: &[&[u8]] = &[b"model_roots", b"downloads", b"https://", b"ports", b"1-2", b"*", b"[\"", b"\"]", b"= "];
    let target = crate::hostile::Target { name: "policy", words, ..Default::default() };
    crate::hostile::survives(target, |bytes| {
        let _ = file::parse(&"p.toml".into(), &String::from_utf8_lossy(bytes));
    });
}
