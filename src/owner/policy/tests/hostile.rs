//! What a malicious committer tries: each must be refused at its line, under a
//! policy as generous as a real one.

use super::*;

/// Weights, templates and downloads, and nothing else.
const GENEROUS: &str = "model_roots = [\"$/weights\"]\nfile_roots = [\"$/weights\"]\nsocket_roots = [\"$/run\"]\n\
    downloads = [\"hf:good/*\", \"https://good.org/m/*\"]\nbinaries = [\"$/bin\"]\n";

/// `text` with each of `more` is refused, or is not a valid definition at all.
fn is_refused(text: &str, more: &[&str]) {
    for more in more {
        let site = Site::new(&format!("{text}{more}\n"));
        fs::create_dir_all(site.path("run")).unwrap();
        fs::write(site.path("secret.gguf"), "x").unwrap();
        symlink("../secret.gguf", site.path("weights/link.gguf")).unwrap();
        symlink("..", site.path("weights/up")).unwrap();
        symlink("/", site.path("run/root")).unwrap();
        let mut desired = site.load();
        site.policy(GENEROUS).enforce(&mut desired, ReadFrom::Itself);
        assert_eq!(desired.definitions.len(), 0, "allowed: {text}{more}");
        let said = render(&desired.diagnostics, false);
        let line = if text.contains("[env]") || text.contains("[parameters]") { ":3:" } else { "models.d/a.toml" };
        assert!(said.contains(line), "not at its line: {said}");
    }
}

#[test]
fn the_test_policy_allows_normal_definitions() {
    let more = "host = \"127.0.0.1\"\n[parameters]\nchat_template_file = \"../weights/t.jinja\"\n\
                lora = [\"../weights/a.gguf\"]\nlora_scaled = [\"../weights/a.gguf:0.5\"]\nmmproj_url = \"https://good.org/m/p.gguf\"\n";
    assert_eq!(Site::new(&format!("{MODEL}{more}")).enforced(GENEROUS), (1, String::new()));
}

#[test]
fn an_option_by_any_of_its_names_is_the_same_option() {
    is_refused(
        &format!("{MODEL}[parameters]\n"),
        &[
            "tools = \"all\"",
            "tools = [\"read_file\", \"exec_shell_command\"]",
            "agent = true",
            "mcp_servers_config = \"../weights/a.gguf\"",
            "mcp-servers-json = '{}'",
            "slot_save_path = \"../weights\"",
            "\"slot-save-path\" = \"../weights\"",
            "path = \"/\"",
            "media-path = \"/\"",
            "rpc = \"10.0.0.1:50052\"",
            "webui_mcp_proxy = true",
            "ui-mcp-proxy = true",
            "log_prompts_dir = \"/etc\"",
            "lookup_cache_dynamic = \"../weights/x\"",
            // What herdsman reserves for itself.
            "log_file = \"/etc/cron.d/x\"",
            "model = \"/etc/passwd\"",
            "models_dir = \"/\"",
            "api_key_file = \"/etc/shadow\"",
            "host = \"0.0.0.0\"",
        ],
    );
}

#[test]
fn a_path_leads_out_of_a_root_in_no_list_and_by_no_link() {
    is_refused(
        &format!("{MODEL}[parameters]\n"),
        &[
            "lora = [\"../weights/a.gguf\", \"/etc/passwd\"]",
            "lora = \"../weights/a.gguf,/etc/passwd\"",
            "lora = \"../weights/a.gguf,../secret.gguf\"",
            "lora = '\"../weights/a.gguf\",\"/etc/passwd\"'",
            "lora = [\"../weights/link.gguf\"]",
            "lora-scaled = [\"../weights/link.gguf:0.5\"]",
            "lora_scaled = \"../weights/a.gguf:1,/etc/passwd:0.5\"",
            "lora_scaled = [\"../weights/a.gguf:/etc/passwd:0.5\"]",
            "control_vector = [\"../weights/up/secret.gguf\"]",
            "control_vector_scaled = [\"/etc/passwd:1\"]",
            "mmproj = \"../weights/up/secret.gguf\"",
            "spec_draft_model = \"../weights/link.gguf\"",
            "model_draft = \"/etc/passwd\"",
            "chat_template_file = \"/proc/self/environ\"",
            "grammar_file = \"/etc/shadow\"",
            "json_schema_file = \"../weights/up/secret.gguf\"",
            "ssl_key_file = \"/etc/ssl/private/key.pem\"",
            "webui_config_file = \"/etc/passwd\"",
        ],
    );
    is_refused(
        "",
        &["model = \"../weights/up/secret.gguf\"", "model = \"../weights/../secret.gguf\"", "model = \"/dev/sda\""],
    );
}

#[test]
fn a_download_comes_only_from_and_goes_only_to_allowed_places() {
    is_refused(
        "",
        &["hf_repo = \"evil/x\"", "model_url = \"https://evil.org/m/x\"", "model_url = \"https://good.org/x\""],
    );
    is_refused(
        &format!("{MODEL}[parameters]\n"),
        &[
            "mmproj_url = \"https://evil.org/m/x\"",
            "spec_draft_hf = \"evil/x\"",
            "hf_repo_draft = \"evil/x\"",
            "docker_repo = \"evil/x\"",
            "hf_file = \"../x\"",
        ],
    );
    // Each is allowed, but together one overwrites the other.
    let site = Site::new(&format!(
        "{MODEL}[parameters]\nmmproj = \"../weights/a.gguf\"\nmmproj_url = \"https://good.org/m/p.gguf\"\n"
    ));
    let said = site.refused(GENEROUS);
    assert!(said.contains(":3:") && said.contains("which `mmproj_url` is written to"), "{said}");
    assert_eq!(site.enforced(&format!("{GENEROUS}write_roots = [\"$/weights\"]\n")).0, 1);
}

#[test]
fn no_variable_does_what_an_option_may_not() {
    let variables = [
        "LLAMA_ARG_TOOLS",
        "LLAMA_ARG_RPC",
        "LLAMA_ARG_STATIC_PATH",
        "LLAMA_ARG_SOMETHING_NEW",
        "LLAMA_ARG_HOST",
        "LLAMA_CACHE",
        "LLAMA_LOG_FILE",
        "LLAMA_API_KEY",
        "LD_PRELOAD",
        "LD_AUDIT",
        "LD_LIBRARY_PATH",
        "GLIBC_TUNABLES",
        "GCONV_PATH",
        "GGML_BACKEND_PATH",
        "GGML_BACKEND_DIR",
        "GGML_ANYTHING",
        "PATH",
        "HOME",
        "TMPDIR",
        "PYTHONPATH",
        "BASH_ENV",
        "ENV",
        "HTTPS_PROXY",
        "https_proxy",
        "HF_ENDPOINT",
        "MODEL_ENDPOINT",
        "HF_TOKEN",
        "SSL_CERT_FILE",
        "VK_ICD_FILENAMES",
        "VK_LAYER_PATH",
        "OCL_ICD_VENDORS",
        "CUDA_INJECTION64_PATH",
        "NOTIFY_SOCKET",
        "HERDSMAN_STATE",
        "ANYTHING_ELSE",
    ];
    let lines = variables.map(|name| format!("{name} = \"x\""));
    is_refused(&format!("{MODEL}[env]\n"), &lines.each_ref().map(String::as_str));
}

#[test]
fn listens_only_where_the_policy_allows() {
    is_refused(
        MODEL,
        &[
            "host = \"0.0.0.0\"",
            "host = \"::\"",
            "host = \"::ffff:10.0.0.1\"",
            "host = \"10.0.0.1\"",
            "host = \"/tmp/a.sock\"",
            "host = \"../run/../a.sock\"",
            "host = \"../run/root/etc/a.sock\"",
            "port = 22",
            "port = 0",
        ],
    );
}

#[test]
fn no_other_program_is_run() {
    let site = Site::new(&format!("{MODEL}binary = \"../bin/link\"\n"));
    fs::create_dir(site.path("bin")).unwrap();
    symlink("/bin/sh", site.path("bin/link")).unwrap();
    let said = site.refused(GENEROUS);
    assert!(said.contains("link for `binary`: it leads to") && said.contains(":2:"), "{said}");
    is_refused(MODEL, &["binary = \"/bin/sh\"", "binary = \"sh\"", "binary = \"../bin/../weights/a.gguf\""]);
    assert!(site.policy(GENEROUS).allows_binary(&site.path("bin/link")).is_err());
}

#[test]
fn the_defaults_are_bound_like_every_definition() {
    for (more, needle) in [
        ("[parameters]\ntools = \"all\"\n", "`tools`"),
        ("[env]\nLD_PRELOAD = \"/tmp/x.so\"\n", "`LD_PRELOAD`"),
        ("host = \"0.0.0.0\"\n", "0.0.0.0"),
        ("binary = \"/bin/sh\"\n", "`binary`"),
        ("[secrets]\napi_key = { file = \"/etc/shadow\" }\n", "`api_key`"),
    ] {
        let site = Site::new(MODEL).write("models.d/_defaults.toml", more);
        let said = site.refused(GENEROUS);
        assert!(said.contains("models.d/_defaults.toml:") && said.contains(needle), "{said}");
    }
}

#[test]
fn a_definition_that_links_to_another_file_shows_nothing_of_it() {
    let secret = "root:hunter2:20000:0:99999:7:::\n";
    for name in ["a.toml", "_defaults.toml", "_groups.toml"] {
        let site = Site::new(MODEL).write("secret", secret);
        let _missing = fs::remove_file(site.path("models.d").join(name));
        symlink("../secret", site.path("models.d").join(name)).unwrap();
        let mut desired = site.load();
        let said = render(&desired.diagnostics, false);
        assert!(said.contains("hunter2"), "a test of nothing: {name}: {said}");
        site.policy(GENEROUS).enforce(&mut desired, ReadFrom::Itself);
        let said = format!("{}{:?}", render(&desired.diagnostics, false), desired.unresolved);
        assert!(!said.contains("hunter2"), "{said}");
        assert!(said.contains("for a definition: it leads to"), "{said}");
        assert_eq!(desired.definitions.len(), 0);
        assert_eq!(desired.unresolved.len(), 1);
    }
    // Valid, but it belongs to nobody who pushes here.
    let site = Site::new(MODEL).write("other.toml", MODEL);
    fs::remove_file(site.path("models.d/a.toml")).unwrap();
    symlink("../other.toml", site.path("models.d/a.toml")).unwrap();
    assert!(site.refused(GENEROUS).contains("models.d/a.toml"));
    assert_eq!(site.enforced(&GENEROUS.replace("$/weights\"]\nsocket", "$\"]\nsocket")).0, 1);
}

#[test]
fn a_link_that_stays_in_the_directory_is_a_definition() {
    let site = Site::new(MODEL);
    fs::create_dir(site.path("models.d/..2026")).unwrap();
    fs::rename(site.path("models.d/a.toml"), site.path("models.d/..2026/a.toml")).unwrap();
    symlink("..2026", site.path("models.d/..data")).unwrap();
    symlink("..data/a.toml", site.path("models.d/a.toml")).unwrap();
    assert_eq!(site.enforced(GENEROUS), (1, String::new()));
}
