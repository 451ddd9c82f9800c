//! What is said over the socket: one question a connection, one JSON object a line.
//!
//! ```text
//!   {"version":1,"ask":"withdraw","instances":["…"]}   {"version":1,"answer":"withdrawn"}
//!   {"version":1,"ask":"readmit","instances":["…"]}    {"version":1,"answer":"readmitted"}
//!   {"version":1,"ask":"in_flight","instances":["…"]}  {"version":1,"answer":"in_flight","requests":{"…":2}}
//!   {"version":1,"ask":"attend"}                       {"version":1,"answer":"attended","in_time":true}
//!   {"version":1,"ask":"addresses"}                    {"version":1,"answer":"addresses","addresses":["http://…"]}
//!   {"version":1,"ask":"changed","since":7,"within_ms":1000}  {"version":1,"answer":"changed","number":8}
//!   {"version":1,"ask":"traffic"}                      {"version":1,"answer":"traffic","models":{"…":{"waiting":1,…}}}
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{InstanceId, ModelName, Traffic};

/// The version that this herdsman speaks.
const VERSION: u32 = 1;

/// A question, with the version that it is asked in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    version: u32,
    #[serde(flatten)]
    question: Question,
}

/// What another process asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Question {
    /// Take these instances out of rotation.
    Withdraw {
        /// Which.
        instances: Vec<InstanceId>,
    },
    /// Send these instances requests again.
    Readmit {
        /// Which.
        instances: Vec<InstanceId>,
    },
    /// How many requests are these instances answering?
    InFlight {
        /// Which.
        instances: Vec<InstanceId>,
    },
    /// What do clients ask of each model?
    Traffic,
    /// Look at what other processes did, and answer once requests go by it.
    Attend,
    /// Where is the page?
    Addresses,
    /// Answer once what is shown has another number than this, or after this time.
    Changed {
        /// The number; 0 is none.
        since: u64,
        /// The time, milliseconds.
        within_ms: u64,
    },
}

/// An answer, with the version that it is given in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    version: u32,
    #[serde(flatten)]
    answer: Answer,
}

/// What the gateway answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// They are out of rotation.
    Withdrawn,
    /// They are in rotation again.
    Readmitted,
    /// Requests in flight, by instance.
    InFlight {
        /// Those that have any.
        requests: BTreeMap<InstanceId, u32>,
    },
    /// What clients ask of each model.
    Traffic {
        /// Those that they asked for since the gateway began to serve.
        models: BTreeMap<ModelName, Traffic>,
    },
    /// Requests go by what a pass found that began after the question.
    Attended {
        /// Whether that is so; if not, it takes longer.
        in_time: bool,
    },
    /// Where the page is.
    Addresses {
        /// URLs, and `unix:/PATH`.
        addresses: Vec<String>,
    },
    /// What is shown has this number.
    Changed {
        /// The number.
        number: u64,
    },
    /// The question was not understood.
    NotUnderstood {
        /// Why.
        why: String,
    },
}

impl Request {
    /// Returns the line for a question.
    #[must_use]
    pub const fn new(question: Question) -> Self {
        Self { version: VERSION, question }
    }

    /// Reads a line.
    ///
    /// # Errors
    /// It is no question in this version: why.
    pub fn read(line: &[u8]) -> Result<Question, String> {
        let Self { version, question } = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if version == VERSION { Ok(question) } else { Err(format!("version {version} instead of {VERSION}")) }
    }
}

impl Reply {
    /// Returns the line for an answer.
    #[must_use]
    pub const fn new(answer: Answer) -> Self {
        Self { version: VERSION, answer }
    }

    /// Reads a line.
    ///
    /// # Errors
    /// It is no answer in this version: why.
    pub fn read(line: &[u8]) -> Result<Answer, String> {
        let Self { version, answer } = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if version == VERSION { Ok(answer) } else { Err(format!("version {version} instead of {VERSION}")) }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn each_line_is_what_it_was() {
        let instances = vec![InstanceId("a".to_owned())];
        let withdraw = Question::Withdraw { instances: instances.clone() };
        let readmit = Question::Readmit { instances: instances.clone() };
        let changed = Question::Changed { since: 7, within_ms: 1000 };
        let questions = [withdraw, readmit, Question::InFlight { instances }, Question::Traffic, changed];
        for question in questions {
            let line = serde_json::to_vec(&Request::new(question.clone())).unwrap();
            assert_eq!(Request::read(&line), Ok(question));
        }
        let requests = BTreeMap::from([(InstanceId("a".to_owned()), 2)]);
        let line = serde_json::to_string(&Reply::new(Answer::InFlight { requests: requests.clone() })).unwrap();
        assert_eq!(line, r#"{"version":1,"answer":"in_flight","requests":{"a":2}}"#);
        assert_eq!(Reply::read(line.as_bytes()), Ok(Answer::InFlight { requests }));
        let waiting = Traffic { waiting: 1, last_used: Some(Timestamp(7)), ..Traffic::default() };
        let models = BTreeMap::from([(ModelName::parse("m").unwrap(), waiting)]);
        let line = br#"{"version":1,"answer":"traffic","models":{"m":{"waiting":1,"last_used":7}}}"#;
        assert_eq!(Reply::read(line), Ok(Answer::Traffic { models: models.clone() }));
        let line = serde_json::to_vec(&Reply::new(Answer::Traffic { models: models.clone() })).unwrap();
        assert_eq!(Reply::read(&line), Ok(Answer::Traffic { models }));
    }

    #[test]
    fn another_version_is_not_understood() {
        let line = br#"{"version":2,"ask":"withdraw","instances":[]}"#;
        assert_eq!(Request::read(line), Err("version 2 instead of 1".to_owned()));
        assert!(Request::read(b"{}").is_err());
        assert!(Reply::read(b"HTTP/1.1 400").is_err());
    }
}
