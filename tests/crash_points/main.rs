//! herdsman is killed (SIGKILL) at every point of every story, with the real
//! binary and real llama-servers; then herdsman runs again, and everything is
//! as declared.
//!
//! ```text
//!   record   the story once, with every point it reaches logged
//!   kill     for each of these points: a fresh world, the story, dead there
//!   look     from outside, at the moment of death: /proc, SQLite
//!   go on    herdsman again, as if nothing had happened
//!   look     again: as declared, nothing lost, nothing doubled, nothing left over
//! ```
//!
//! What is looked at shares no code with herdsman (`seen`, `recorded`). A patrol
//! looks for doubles all the time, not only at the end.
//!
//! A point at which nothing has changed is died at once in a story.
//! `HERDSMAN_CRASH_POINT=STORY` or `STORY:POINT:N` plays one story, or one death.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod begins;
mod by_hand;
mod checks;
mod logs;
mod notified;
mod patrol;
mod play;
mod recorded;
mod seen;
mod stories;
mod story;
mod tally;
mod workers;

use patrol::Patrol;
use play::{Death, play, points_of};
use stories::STORIES;
use story::Story;
use tally::Tally;

/// `HERDSMAN_CRASH_POINT`, if it is set.
struct Wanted {
    story: String,
    /// `POINT:N`.
    place: Option<String>,
}

impl Wanted {
    fn read() -> Option<Self> {
        let text = std::env::var("HERDSMAN_CRASH_POINT").ok()?;
        let names: Vec<_> = STORIES.iter().map(|one| one.name).collect();
        let story = names.iter().filter(|name| text.starts_with(**name)).max_by_key(|name| name.len());
        let story = story.unwrap_or_else(|| panic!("there is no story {text:?}; there are {names:?}"));
        let place = text[story.len()..].strip_prefix(':').map(str::to_owned);
        assert!(place.is_some() || text == *story, "there is no story {text:?}; there are {names:?}");
        Some(Self { story: (*story).to_owned(), place })
    }
}

#[test]
fn killed_at_any_point_herdsman_goes_on_and_nothing_is_lost_or_doubled() {
    let wanted = Wanted::read();
    let is_wanted = |story: &&Story| wanted.as_ref().is_none_or(|wanted| wanted.story == story.name);
    let stories: Vec<&Story> = STORIES.iter().filter(is_wanted).collect();
    let patrol = Patrol::begin();
    let mut tally = Tally::default();

    let recorded = workers::each(&stories, |story| points_of(story, &patrol));
    let mut deaths: Vec<Death> = Vec::new();
    for (story, points) in stories.iter().zip(recorded) {
        match points {
            Ok(points) => deaths.extend(play::deaths(story, &points)),
            Err(why) => tally.failed(format!("{}, not killed: {why}", story.name)),
        }
    }
    if let Some(place) = wanted.as_ref().and_then(|wanted| wanted.place.as_ref()) {
        deaths.retain(|death| death.place() == *place);
        assert!(!deaths.is_empty(), "that story does not reach {place}");
    }
    // The longest first, so that none is left at the end.
    deaths.sort_by_key(|death| std::cmp::Reverse(death.story.patience));
    println!("{} deaths in {} stories", deaths.len(), stories.len());
    let ends = workers::each(&deaths, |death| play(death, &patrol));
    for (death, end) in deaths.iter().zip(ends) {
        tally.add(death, end);
    }
    patrol.end().into_iter().for_each(|double| tally.doubled(double));
    println!("{tally}");
    tally.assert_clean(wanted.is_none());
}
