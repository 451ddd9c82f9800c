//! The database as passes use it: reloaded when another program has written to it,
//! and created again if it was deleted or is damaged.
//!
//! Damage that shows while a pass records ends that pass. The next one sets the
//! file aside first and recovers the instances from the running processes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{HostError, Places};
use crate::database::{Database, DatabaseError, Location, SetAside};
use crate::model::{Change, Records, Timestamp};

/// The database of one state directory.
pub(super) struct Store {
    path: PathBuf,
    place: Location,
    access: Access,
    recorded: LastRead,
    /// A commit failed because the file is damaged, or seemed so.
    suspect: bool,
    /// Notices that were not reported yet.
    notices: Vec<String>,
}

/// Whether anything may be written.
enum Access {
    /// For a dry run or `status`, which create no file. `None`: no database yet.
    Read(Option<Database>),
    /// `None`: it must be opened again.
    Write(Option<Database>),
}

/// What was last read of the database.
#[derive(Default)]
struct LastRead {
    /// The database's version before; only other programs' commits change it.
    version: Option<i64>,
    /// None once herdsman itself has written.
    records: Option<Arc<Records>>,
}

impl Store {
    /// Opens it for passes, and creates it if there is none. Call it under the lock
    /// of the pass.
    pub fn open(places: &Places) -> Result<Self, DatabaseError> {
        let place = places.place();
        let (database, aside) = Database::open_or_replace(&places.database, place)?;
        let notices = aside.iter().map(SetAside::to_string).collect();
        Ok(Self::new(places, place, Access::Write(Some(database)), notices))
    }

    /// Opens it for a look. If the database is damaged, the look shows what a pass
    /// would find after setting it aside.
    pub fn open_read_only(places: &Places) -> Result<Self, DatabaseError> {
        let (place, path) = (places.place(), &places.database);
        match Database::open_read_only(path).map_err(|error| error.at(place)) {
            Ok(database) => Ok(Self::new(places, place, Access::Read(database), Vec::new())),
            Err(error) if error.is_damage() => {
                Database::is_replaceable(path, place)?;
                Ok(Self::new(places, place, Access::Read(None), vec![without(&error)]))
            }
            Err(error) => Err(error),
        }
    }

    fn new(places: &Places, place: Location, access: Access, notices: Vec<String>) -> Self {
        let (path, recorded) = (places.database.clone(), LastRead::default());
        Self { path, place, access, recorded, suspect: false, notices }
    }

    /// The database, if there is one.
    pub fn database(&self) -> Option<&Database> {
        let (Access::Read(database) | Access::Write(database)) = &self.access;
        database.as_ref()
    }

    /// The database, for short transactions that are no part of a pass and
    /// touch nothing the records are made of.
    pub fn database_mut(&mut self) -> Option<&mut Database> {
        match &mut self.access {
            Access::Write(database) => database.as_mut(),
            Access::Read(_) => None,
        }
    }

    pub fn is_for_writing(&self) -> bool {
        matches!(self.access, Access::Write(_))
    }

    /// Adds something that a person must know.
    pub fn notice(&mut self, notice: String) {
        self.notices.push(notice);
    }

    /// Takes the notices since the last call.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Whether another program has written since the records were last read.
    pub fn others_have_written(&self) -> Result<bool, DatabaseError> {
        let (Some(database), Some(version)) = (self.database(), self.recorded.version) else { return Ok(false) };
        Ok(!database.is_in_place() || database.data_version()? != version)
    }

    /// The records; those of the last reading unless somebody has written since.
    pub fn records(&mut self) -> Result<Arc<Records>, DatabaseError> {
        if std::mem::take(&mut self.suspect) {
            self.replace()?;
        }
        match self.read() {
            Err(error) if error.is_damage() => {
                match &mut self.access {
                    Access::Write(_) => self.replace()?,
                    Access::Read(database) => {
                        Database::is_replaceable(&self.path, self.place)?;
                        *database = None;
                        self.notices.push(without(&error));
                    }
                }
                self.read()
            }
            records => records,
        }
    }

    pub fn commit(&mut self, changes: &[Change], now: Timestamp) -> Result<(), HostError> {
        self.recorded.records = None;
        let result = self.for_writing()?.commit(changes, now);
        self.suspect = result.as_ref().is_err_and(DatabaseError::is_damage);
        Ok(result?)
    }

    /// Returns the database for writes other than records.
    pub fn for_writing(&mut self) -> Result<&mut Database, HostError> {
        match &mut self.access {
            Access::Write(Some(database)) => Ok(database),
            _ => Err(HostError::ReadOnly),
        }
    }

    fn read(&mut self) -> Result<Arc<Records>, DatabaseError> {
        if let Access::Write(database) = &mut self.access
            && !database.as_ref().is_some_and(Database::is_in_place)
        {
            // Closed before: its locks would be in the way of the other one.
            let was_open = database.take().is_some();
            self.recorded = LastRead::default();
            self.notices.extend(was_open.then(|| gone(&self.path)));
            // Made anew where it was deleted; live servers are then adopted.
            let (other, aside) = Database::open_or_replace(&self.path, self.place)?;
            self.notices.extend(aside.iter().map(SetAside::to_string));
            *database = Some(other);
        }
        let Some(database) = self.database() else { return Ok(Arc::default()) };
        let version = Some(database.data_version()?);
        if let Some(records) = self.recorded.records.as_ref().filter(|_| self.recorded.version == version) {
            return Ok(Arc::clone(records));
        }
        let records = Arc::new(database.records()?);
        self.recorded = LastRead { version, records: Some(Arc::clone(&records)) };
        Ok(records)
    }

    fn replace(&mut self) -> Result<(), DatabaseError> {
        let database = match Database::replace(&self.path, self.place) {
            Ok((database, aside)) => {
                self.notices.push(aside.to_string());
                Some(database)
            }
            // Nothing is wrong with the file, so what this connection knows of
            // it is: somebody wrote another one over it.
            Err(error) if error.is_misread() => None,
            Err(error) => return Err(error),
        };
        self.access = Access::Write(database);
        self.recorded = LastRead::default();
        Ok(())
    }
}

/// What became of an open database that is no longer the file at its path.
fn gone(path: &Path) -> String {
    let shown = path.display();
    if path.exists() {
        format!("{shown} was replaced by another file; herdsman uses the new one from now on")
    } else {
        format!(
            "{shown} was deleted; herdsman created a new one and adopts the running servers, but the history is lost"
        )
    }
}

fn without(error: &DatabaseError) -> String {
    format!("{error}; until that is fixed, herdsman changes nothing and shows what it finds without the database")
}
