//! How a model is served: the tables `[ready]`, `[update]`, `[idle]` and `[serve]`.

use super::draft::{Common, OFF, duration, positive, unknown};
use super::keys::{IdleKey, Key, ReadyKey, ServeKey, UpdateKey};
use super::value::{Located, Reader, Value};
use crate::model::OnFailure;

/// The keys of a table: how to find one, and their names.
type Keys<K> = (fn(&str) -> Option<K>, &'static [&'static str]);

/// Reads each key of the table `place`, and reports those that it does not have.
fn each<'t, K>(
    reader: &mut Reader<'_, 't>,
    value: &Value<'_>,
    place: Key,
    (find, names): Keys<K>,
    mut read: impl FnMut(&mut Reader<'_, 't>, K, &Value<'_>),
) {
    let Some(table) = reader.table(place.as_str(), value) else { return };
    for (key, value) in table {
        if reader.is_full() {
            break;
        }
        match find(key.get_ref()) {
            Some(known) => read(reader, known, value),
            None => unknown(reader, key.get_ref(), key.span(), place, names),
        }
    }
}

pub(super) fn ready(reader: &mut Reader<'_, '_>, value: &Value<'_>, common: &mut Common) {
    each(reader, value, Key::Ready, (ReadyKey::find, ReadyKey::NAMES), |reader, key, value| {
        let name = key.as_str();
        match key {
            ReadyKey::Timeout => common.timeout = positive(reader, name, value),
            ReadyKey::UnhealthyAfter => common.unhealthy_after = or_off(reader, name, value, positive),
            ReadyKey::RequireGpu => common.require_gpu = reader.boolean(name, value),
        }
    });
}

pub(super) fn update(reader: &mut Reader<'_, '_>, value: &Value<'_>, common: &mut Common) {
    each(reader, value, Key::Update, (UpdateKey::find, UpdateKey::NAMES), |reader, key, value| {
        let name = key.as_str();
        match key {
            UpdateKey::Drain => common.drain = duration(reader, name, value),
            UpdateKey::OnFailure => {
                common.on_failure = reader.word(name, value, &OnFailure::ALL.map(|o| (o.as_str(), o)));
            }
        }
    });
}

pub(super) fn idle(reader: &mut Reader<'_, '_>, value: &Value<'_>, common: &mut Common) {
    each(reader, value, Key::Idle, (IdleKey::find, IdleKey::NAMES), |reader, key, value| match key {
        IdleKey::StopAfter => common.stop_after = or_off(reader, key.as_str(), value, positive),
    });
}

pub(super) fn serve(reader: &mut Reader<'_, '_>, value: &Value<'_>, common: &mut Common) {
    each(reader, value, Key::Serve, (ServeKey::find, ServeKey::NAMES), |reader, key, value| {
        let name = key.as_str();
        match key {
            ServeKey::Listed => common.listed = reader.boolean(name, value),
            ServeKey::MaxInFlight => common.max_in_flight = or_off(reader, name, value, limit),
        }
    });
}

fn limit(reader: &mut Reader<'_, '_>, key: &str, value: &Value<'_>) -> Option<Located<u32>> {
    let help = "set how many requests the server answers at once, or `\"off\"` for no limit";
    reader.integer(key, value, 1..=u32::MAX, help)
}

/// `priority`, which is not in a table.
pub(super) fn priority(reader: &mut Reader<'_, '_>, value: &Value<'_>) -> Option<Located<i32>> {
    let help = "write a whole number: in a full group, the model with the lowest stops first";
    reader.integer(Key::Priority.as_str(), value, i32::MIN..=i32::MAX, help)
}

/// Reads a value that `"off"` may replace.
fn or_off<'s, 't, T>(
    reader: &mut Reader<'s, 't>,
    key: &str,
    value: &Value<'_>,
    read: impl FnOnce(&mut Reader<'s, 't>, &str, &Value<'_>) -> Option<Located<T>>,
) -> Option<Located<Option<T>>> {
    if value.get_ref().as_str() == Some(OFF) {
        return Some(reader.located(None, value.span()));
    }
    let Located { value, origin, span } = read(reader, key, value)?;
    Some(Located { value: Some(value), origin, span })
}
