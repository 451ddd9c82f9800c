//! The pages: rendered, linked, complete.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{generated, render::render, topics::TOPICS};

#[test]
fn renders_every_construct_that_a_page_uses() {
    let page = "# Top\n\nA paragraph with `code` and **bold words** that is long enough to wrap at sixty columns, \
                see [policy](policy.md#limits) and [uv](https://docs.astral.sh/uv).\n\n## Part\n\n- one\n- two, which \
                is so long that it goes on beneath its own beginning, not beneath the dash\n  - inner\n\n1. first\n2. \
                second\n\n```console\n$ herdsman status\nNAME  STATUS\n\nx\n```\n\n<!-- a comment -->\n\n| key | default \
                | meaning |\n|---|---|---|\n| `a` | | short |\n| `b_c` | `\"10m\"` | a meaning that is too long for the \
                line and wraps inside its column |\n\n| | |\n|---|---|\n| no | head |\n";
    let shown = anstream::adapter::strip_str(&render(page, 60)).to_string();
    insta::assert_snapshot!(shown);
}

#[test]
fn no_page_shows_raw_markdown_or_is_too_wide() {
    for topic in TOPICS {
        let shown = anstream::adapter::strip_str(&render(topic.text, 80)).to_string();
        // Code, which is left as it is, stands further in.
        for line in shown.lines().filter(|line| !line.starts_with("    ")) {
            for markup in ["**", "](", "<!-- generated", "<!-- end", "```", "|---"] {
                assert!(!line.contains(markup), "{}: {line}", topic.name);
            }
            assert!(!line.starts_with('#') && !line.starts_with('|'), "{}: {line}", topic.name);
            assert!(line.chars().count() <= 80, "{}: {line}", topic.name);
        }
    }
}

/// The targets of the links on a page.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// The anchors of the headings on a page, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings.map(|heading| heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn every_link_leads_somewhere() {
    for page in generated::pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text).filter(|link| !link.starts_with("http")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link}", page.display());
            if !anchor.is_empty() {
                let there = anchors(&fs::read_to_string(&target).unwrap());
                assert!(there.iter().any(|known| known == anchor), "{}: {link}: {there:?}", page.display());
            }
        }
    }
}

#[test]
fn every_path_in_contributing_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
    let paths = text.split('`').skip(1).step_by(2).filter(|code| {
        let top = ["src/", "tests/", "schema/", "examples/"].iter().any(|top| code.starts_with(top));
        top && !code.contains([' ', '*']) && !code.contains("TARGET")
    });
    let missing: Vec<_> = paths.filter(|path| !root.join(path).exists()).collect();
    assert!(missing.is_empty(), "CONTRIBUTING.md names what is not there: {missing:?}");
}

#[test]
fn every_topic_is_a_page_that_its_name_heads() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/help/topics");
    let mut files: Vec<_> =
        fs::read_dir(here).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let mut named: Vec<_> = TOPICS.iter().map(|topic| format!("{}.md", topic.name)).collect();
    files.sort();
    named.sort();
    assert_eq!(files, named);
    for topic in TOPICS {
        assert!(topic.text.starts_with("# ") && topic.text.ends_with('\n'), "{}", topic.name);
    }
}

#[test]
fn readme_is_short_enough_to_read() {
    let readme = fs::metadata(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    assert!(readme.len() <= 12_000, "README.md has {} bytes; move what is reference to a topic", readme.len());
}

fn page(name: &str) -> &'static str {
    super::topics::find(name).unwrap().text
}

#[test]
fn every_key_of_the_settings_is_in_its_topic() {
    // The example has every key: a test of the settings says so.
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/settings/herdsman.toml");
    let settings: toml::Table = fs::read_to_string(example).unwrap().parse().unwrap();
    for key in settings["notify"].as_table().unwrap().keys() {
        assert!(page("notifications").contains(&format!("| `{key}` |")), "notifications.md lacks {key}");
    }
    for key in settings["serve"].as_table().unwrap().keys() {
        assert!(page("gateway").contains(&format!("| `{key}` |")), "gateway.md lacks {key}");
    }
}

/// The names of metrics in a text.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(|word| word.starts_with("herdsman_"));
    // What an alert reads of a histogram.
    names.map(|name| name.strip_suffix("_bucket").unwrap_or(name)).collect()
}

#[test]
fn the_topic_has_exactly_the_metrics_of_the_code() {
    let code: String = walkdir::WalkDir::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .filter(|code| code.contains("\nuse prometheus::"))
        .collect();
    assert!(metrics(&code).len() > 10, "{:?}", metrics(&code));
    assert_eq!(metrics(page("metrics")), metrics(&code));
}
