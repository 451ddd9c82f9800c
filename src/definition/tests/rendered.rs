//! Whole problems as people read them: these texts are the product.

use super::*;

#[test]
fn reports_all_syntax_errors_at_once() {
    insta::assert_snapshot!(problems("model = a.gguf\nport = \n[parameters\nctx_size = 8192\n"));
}

#[test]
fn reports_a_merge_conflict_as_one_problem() {
    insta::assert_snapshot!(problems(
        "model = \"a.gguf\"\n<<<<<<< HEAD\nport = 8101\n=======\nport = 8102\n>>>>>>> theirs\n"
    ));
}

#[test]
fn a_key_set_twice_points_at_both() {
    insta::assert_snapshot!(problems("model = \"a.gguf\"\nport = 8101\nport = 8102\n"));
}

#[test]
fn an_option_set_under_two_names_points_at_both() {
    insta::assert_snapshot!(problems_of("[parameters]\ngpu_layers = 99\nctx_size = 1\nn-gpu-layers = 1\n"));
}

#[test]
fn suggests_the_key_meant_for_an_unknown_key() {
    insta::assert_snapshot!(problems_of("prot = 8101\n[parameters]\nctx_sise = 8192\n[ready]\ntimeuot = \"1m\"\n"));
}

#[test]
fn knows_what_people_call_the_keys_elsewhere() {
    let words = [
        "model_path",
        "path",
        "gguf",
        "file",
        "weights",
        "url",
        "repo",
        "alias",
        "prot",
        "ctx_size",
        "n_ctx",
        "ctx",
        "ngl",
        "n_gpu_layers",
        "gpu",
        "threads",
        "n_threads",
        "temp",
        "args",
        "cmd",
        "ttl",
        "api_key",
        "timeout",
        "enabled",
        "tags",
        "ctx-size",
        "context_length",
    ];
    let help = words.map(|word| {
        let problems = problems_of(&format!("{word} = 1\n"));
        let help = problems.lines().find_map(|line| line.split_once("= help: ")).map_or("none", |(_, help)| help);
        format!("{word}: {help}\n")
    });
    insta::assert_snapshot!(help.concat(), @"
    model_path: did you mean `model`?
    path: did you mean `model`?
    gguf: did you mean `model`?
    file: did you mean `model`?
    weights: did you mean `model`?
    url: did you mean `model_url`?
    repo: did you mean `hf_repo`?
    alias: did you mean `aliases`?
    prot: did you mean `port`?
    ctx_size: `ctx_size` is a llama-server option: put it under `[parameters]`
    n_ctx: did you mean the option `ctx_size`? It goes under `[parameters]`
    ctx: did you mean the option `ctx_size`? It goes under `[parameters]`
    ngl: did you mean the option `gpu_layers`? It goes under `[parameters]`
    n_gpu_layers: `gpu_layers` is a llama-server option: put it under `[parameters]`
    gpu: did you mean the option `gpu_layers`? It goes under `[parameters]`
    threads: `threads` is a llama-server option: put it under `[parameters]`
    n_threads: did you mean the option `threads`? It goes under `[parameters]`
    temp: `temperature` is a llama-server option: put it under `[parameters]`
    args: llama-server options go under `[parameters]`; notes go in `description` or `[labels]`
    cmd: llama-server options go under `[parameters]`; notes go in `description` or `[labels]`
    ttl: llama-server options go under `[parameters]`; notes go in `description` or `[labels]`
    api_key: put it under `[secrets]`
    timeout: put it under `[ready]`
    enabled: llama-server options go under `[parameters]`; notes go in `description` or `[labels]`
    tags: llama-server options go under `[parameters]`; notes go in `description` or `[labels]`
    ctx-size: `ctx_size` is a llama-server option: put it under `[parameters]`
    context_length: did you mean the option `ctx_size`? It goes under `[parameters]`
    ");
}

#[test]
fn a_wrong_type_says_what_was_expected_and_found() {
    insta::assert_snapshot!(problems(
        "model = 1\nport = \"8101\"\nstate = true\naliases = \"a\"\nready = 1\n[env]\nCUDA_VISIBLE_DEVICES = 0\n\
         [parameters]\nctx_size = \"many\"\n[labels]\nteam = [\"a\"]\n"
    ));
}

#[test]
fn reports_the_range_of_a_value_out_of_range() {
    insta::assert_snapshot!(problems_of("port = 99999\n[parameters]\nctx_size = -5\n"));
}

#[test]
fn reports_a_duplicate_name_in_both_files() {
    let dir = Dir::new(&[("a.toml", "model = \"a.gguf\"\n"), ("b.toml", "model = \"b.gguf\"\nname = \"a\"\n")]);
    insta::assert_snapshot!(dir.problems());
}

#[test]
fn reports_a_duplicate_port_in_both_files() {
    let dir = Dir::new(&[
        ("a.toml", "model = \"a.gguf\"\nport = 8101\n"),
        ("b.toml", "model = \"b.gguf\"\n# the port\nport = 8_101\n"),
    ]);
    insta::assert_snapshot!(dir.problems());
}

#[test]
fn reports_a_duplicate_alias_in_both_files() {
    let dir = Dir::new(&[
        ("a.toml", "model = \"a.gguf\"\naliases = [\n  \"x\",\n  \"b\",\n]\n"),
        ("b.toml", "model = \"b.gguf\"\n"),
    ]);
    insta::assert_snapshot!(dir.problems());
}

#[test]
fn points_misplaced_keys_to_their_table() {
    insta::assert_snapshot!(problems(
        "model = \"a.gguf\"\nctx_size = 1\ndrain = \"1s\"\n[parameters]\nport = 1\nstate = \"running\"\n"
    ));
}

#[test]
fn refuses_owned_options_with_the_key_to_use() {
    insta::assert_snapshot!(problems_of(
        "[parameters]\nhost = \"0.0.0.0\"\n[env]\nLLAMA_ARG_PORT = \"1\"\nHERDSMAN_STATE = \"x\"\n"
    ));
}

#[test]
fn explains_the_form_of_a_duration() {
    insta::assert_snapshot!(problems_of(
        "[ready]\ntimeout = \"10 minutes\"\nunhealthy_after = \"0s\"\n[update]\ndrain = 30\n"
    ));
}

#[test]
fn explains_what_a_name_may_be() {
    let bad = ["a/b", "..", "say \\\"hi\\\"", "two\\nlines"];
    let all: Vec<_> = bad.iter().map(|name| problems_of(&format!("name = \"{name}\"\n"))).collect();
    insta::assert_snapshot!(all.join("\n"));
    insta::assert_snapshot!("stem", Dir::new(&[("my model.toml", "model = \"a.gguf\"")]).problems());
}

#[test]
fn requires_exactly_one_source_of_weights() {
    insta::assert_snapshot!(problems("state = \"running\"\n") + "\n" + &problems_of("hf_repo = \"org/repo\"\n"));
}

#[test]
fn lists_the_allowed_words_for_an_unknown_word() {
    insta::assert_snapshot!(problems_of("type = \"gpt\"\nstate = \"runing\"\n[update]\non_failure = \"rolback\"\n"));
}

#[test]
fn explains_what_a_host_may_be() {
    insta::assert_snapshot!(
        problems_of("host = \"gpu-box\"\n") + "\n" + &problems_of("host = \"/run/a.sock\"\nport = 1\n")
    );
}

#[test]
fn explains_the_keys_of_a_model_on_demand() {
    insta::assert_snapshot!(problems_of(
        "state = \"on-demand\"\ngroup = [\"chat\", 1, \"a room\"]\npriority = 1.5\nevict = true\nlisted = true\n[idle]\n\
         stop_after = \"0s\"\nafter = 1\n[serve]\nmax_in_flight = 0\nlisted = \"no\"\n"
    ));
}

#[test]
fn suggests_the_group_meant_for_an_unknown_one() {
    let dir = Dir::new(&[
        ("_groups.toml", "[chat]\nmax_running = 1\n"),
        ("a.toml", "model = \"a.gguf\"\ngroup = \"chta\"\n"),
        ("b.toml", "model = \"b.gguf\"\ngroup = [\"chat\", \"embeddings\"]\n"),
    ]);
    insta::assert_snapshot!(dir.problems());
}

#[test]
fn explains_what_a_group_takes() {
    let text = "max_running = 1\n\"chat room\" = 1\n[chat]\nmax-running = 2\nmembers = [\"a\"]\n[big]\npriority = 1\n\
                colour = 1\nmax_running = 0\n[empty]\n";
    insta::assert_snapshot!(Dir::new(&[("_groups.toml", text)]).problems());
}

#[test]
fn names_the_models_that_always_run_and_do_not_fit_into_their_group() {
    let dir = Dir::new(&[
        ("_groups.toml", "[chat]\nmax_running = 1 # GPU 0\n[unused]\nmax_running = 1\n"),
        ("a.toml", "model = \"a.gguf\"\ngroup = \"chat\"\n"),
        ("b.toml", "model = \"b.gguf\"\ngroup = \"chat\"\n"),
        ("c.toml", "model = \"c.gguf\"\ngroup = \"chat\"\nstate = \"on_demand\"\n"),
    ]);
    insta::assert_snapshot!(dir.problems());
    assert_eq!(dir.load().definitions.len(), 3, "they are used all the same");
}

#[test]
fn reports_bad_defaults_once() {
    let dir = Dir::new(&[
        ("_defaults.toml", "port = 1\nname = \"x\"\naliases = []\n[parameters]\nctx_sise = 1\n"),
        ("a.toml", "model = \"a.gguf\"\n"),
        ("b.toml", "model = \"b.gguf\"\n"),
    ]);
    insta::assert_snapshot!(dir.problems());
    assert_eq!(dir.load().unresolved.len(), 2);
}

#[test]
fn a_secret_in_a_definition_is_refused_and_not_repeated() {
    let shown = problems_of("[env]\nHF_TOKEN = \"hf_xyzzy\"\n[secrets]\napi_key = \"sk-xyzzy\"\nhf_token = {}\n")
        + &problems_of("[secrets]\napi_key = sk-xyzzy\n")
        + &problems_of("[parameters]\napi-key = \"sk-xyzzy\"\n");
    assert!(!shown.contains("xyzzy"), "{shown}");
    insta::assert_snapshot!(shown);
}

#[test]
fn control_characters_of_a_file_do_not_reach_the_terminal() {
    let shown = problems("model = \"a.gguf\"\n\"\\u001b[2Jx\" = 1 # \u{7f}\nport = \"\u{85}\"\n");
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
}

#[test]
fn uses_colour_only_on_request() {
    let problems = Dir::one("prot = 1\n").load().diagnostics.clone();
    assert!(!render(&problems, false).contains('\u{1b}'));
    assert!(render(&problems, true).contains('\u{1b}'));
    assert_eq!(render(&[], true), "");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_loading_or_rendering_panic(
        text in "([a-z_]{1,9} ?= ?|\\[[a-z]{1,9}\\]\n|\"[^\"]{0,5}\"|[0-9.]{1,4}|\\{|\\}|\\[|\\]|\n|model|port|é|\u{feff}|\r\n|,){0,40}",
    ) {
        let (a, b) = (Dir::new(&[("a.toml", &text)]), Dir::new(&[("_defaults.toml", &text), ("a.toml", "port = 1")]));
        let _ = (a.problems(), b.problems());
    }
}
