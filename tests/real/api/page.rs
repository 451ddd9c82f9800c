//! The page, as files and in Chromium.

use super::client::{get, send};
use crate::gateway::served::Served;
use crate::support::World;

#[test]
fn its_files_are_whole_and_load_nothing_from_elsewhere() {
    let served = Served::new(World::new());
    let page = get(served.port, "/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
    let mut left = vec!["/".to_owned()];
    let mut seen: Vec<String> = Vec::new();
    while let Some(path) = left.pop() {
        let file = get(served.port, &path);
        assert_eq!(file.status, 200, "{path}");
        assert!(!file.body.contains("http://") || path.ends_with(".svg"), "{path}");
        assert!(!file.body.contains("https://") && !file.body.contains("innerHTML"), "{path}");
        let quoted = file.body.split('"').skip(1).step_by(2);
        let named = quoted.filter_map(|text| text.strip_prefix("./").or_else(|| text.strip_prefix("page/")));
        left.extend(named.map(|name| format!("/page/{name}")).filter(|path| !seen.contains(path)));
        seen.push(path);
    }
    seen.sort();
    seen.dedup();
    assert!(seen.len() > 12, "{seen:?}");
    let tag = page.header("etag").unwrap();
    assert_eq!(send(served.port, "GET", "/", &[&format!("If-None-Match: {tag}")], "").status, 304);
}
