//! A tick as a line of JSON: what `dump` writes and `fork` reads back.
//!
//! ```text
//! {"tick":7,"hash":"0123456789abcdef","inputs":[{"seat":0,"reason":"arrived","walk":[0.5,0]}],"commands":[{"joined":0}]}
//! ```
//!
//! A line names the seats whose input or reason changed, and of these all fields. Numbers of 64 bits are text, since
//! most readers of JSON round them.

use anyhow::{Context as _, anyhow, bail, ensure};
use serde_json::{Map, Number, Value, json};
use tiltyard_engine::{Command, FieldKind, Game, Reason, Record, Seat, SeatInput, TickRecord, bytemuck};

/// The longest line that is read, in bytes.
pub(super) const LINE_BYTES_MAX: usize = 4 << 20;

const REASONS: [(Reason, &str); 4] = [
    (Reason::Arrived, "arrived"),
    (Reason::Repeated, "repeated"),
    (Reason::Neutral, "neutral"),
    (Reason::Bot, "bot"),
];

/// The seats of a record that changed since `before`, all of them without one.
pub(super) fn inputs_to_json<I: Record>(
    record: &TickRecord<I>,
    before: Option<&TickRecord<I>>,
) -> Vec<Value> {
    let same = |seat: usize, input: &SeatInput<I>| {
        let before = before.and_then(|before| before.inputs.get(seat));
        before.is_some_and(|before| {
            before.reason == input.reason
                && bytemuck::bytes_of(&before.input) == bytemuck::bytes_of(&input.input)
        })
    };
    let changed = record.inputs.iter().enumerate().filter(|(seat, input)| !same(*seat, input));
    let to_json = |(seat, input): (usize, &SeatInput<I>)| {
        let mut object = record_to_json(&input.input);
        let reason = REASONS.iter().find(|(reason, _)| *reason == input.reason).map(|(_, name)| *name);
        object.insert("seat".to_owned(), seat.into());
        object.insert("reason".to_owned(), reason.into());
        Value::Object(object)
    };
    changed.map(to_json).collect()
}

/// A record's fields by name; one with several elements is a list.
pub(super) fn record_to_json<R: Record>(record: &R) -> Map<String, Value> {
    let bytes = bytemuck::bytes_of(record);
    let element = |kind: FieldKind, at: usize| {
        let text = kind.show(bytes.get(at..).unwrap_or_default());
        match kind {
            FieldKind::U64 | FieldKind::I64 => Value::String(text),
            // Every float of a state or an input is finite, and text of it is a number of JSON.
            _ => text.parse::<Number>().map_or(Value::String(text), Value::Number),
        }
    };
    let fields = R::FIELDS.iter().map(|field| {
        let at = |index: u32| field.offset as usize + index as usize * field.kind.size();
        let mut elements = (0..field.count).map(|index| element(field.kind, at(index)));
        let value = if field.count == 1 { elements.next().unwrap_or_default() } else { elements.collect() };
        (field.name.to_owned(), value)
    });
    fields.collect()
}

pub(super) fn commands_to_json(commands: &[Command]) -> Vec<Value> {
    let to_json = |command: &Command| match command {
        Command::Joined(seat) => json!({ "joined": seat.0 }),
        Command::Left(seat) => json!({ "left": seat.0 }),
        Command::Replaced(seat) => json!({ "replaced": seat.0 }),
        Command::Act { seat, value } => json!({ "act": seat.0, "value": value }),
        Command::Chance(value) => json!({ "chance": value }),
    };
    commands.iter().map(to_json).collect()
}

/// What a line says to do in its tick.
#[derive(Debug)]
pub(super) struct Line<I> {
    pub(super) tick: u32,
    /// Seats and what they do until their next line.
    pub(super) inputs: Vec<(Seat, SeatInput<I>)>,
    /// The tick's commands, if the line has them.
    pub(super) commands: Option<Vec<Command>>,
}

/// Reads a line of a battle of `seats`.
pub(super) fn parse<G: Game>(text: &str, seats: usize) -> anyhow::Result<Line<G::Input>> {
    let value: Value = serde_json::from_str(text)?;
    let tick = value["tick"].as_u64().and_then(|tick| u32::try_from(tick).ok());
    let seat = |value: &Value, key: &str| {
        let seat = value[key].as_u64().and_then(|seat| u16::try_from(seat).ok()).map(Seat);
        let seat = seat.filter(|seat| usize::from(seat.0) < seats);
        seat.with_context(|| format!("`{key}` names no seat from 0 to {}", seats.saturating_sub(1)))
    };
    let mut inputs = Vec::new();
    for input in list(&value, "inputs")? {
        let seat = seat(input, "seat")?;
        let said = parse_input::<G>(input).with_context(|| format!("seat {}", seat.0))?;
        inputs.push((seat, said));
    }
    let number = |value: &Value, key: &str| {
        let number = value[key].as_u64().and_then(|value| u32::try_from(value).ok());
        number.with_context(|| format!("`{key}` is a number of 32 bits"))
    };
    let command = |value: &Value| {
        let keys: Vec<_> = value.as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
        Ok(match keys[..] {
            ["joined"] => Command::Joined(seat(value, "joined")?),
            ["left"] => Command::Left(seat(value, "left")?),
            ["replaced"] => Command::Replaced(seat(value, "replaced")?),
            ["act", "value"] => Command::Act { seat: seat(value, "act")?, value: number(value, "value")? },
            ["chance"] => Command::Chance(number(value, "chance")?),
            _ => bail!("no command: {value}"),
        })
    };
    let commands = match value.get("commands") {
        None => None,
        Some(_) => Some(list(&value, "commands")?.iter().map(command).collect::<anyhow::Result<Vec<_>>>()?),
    };
    if let Some(commands) = &commands {
        ensure!(commands.len() <= tiltyard_engine::COMMANDS_MAX, "too many commands");
    }
    Ok(Line { tick: tick.context("`tick` is no number of a tick")?, inputs, commands })
}

fn list<'a>(value: &'a Value, key: &str) -> anyhow::Result<&'a [Value]> {
    match value.get(key) {
        None => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => bail!("`{key}` is no list"),
    }
}

fn parse_input<G: Game>(value: &Value) -> anyhow::Result<SeatInput<G::Input>> {
    let object = value.as_object().context("an input is an object")?;
    let mut bytes = vec![0; size_of::<G::Input>()];
    let known = |key: &str| G::Input::FIELDS.iter().any(|field| field.name == key);
    if let Some(key) = object.keys().find(|key| !known(key) && !["seat", "reason"].contains(&key.as_str())) {
        bail!("{} has no field `{key}`", G::Input::NAME);
    }
    for field in G::Input::FIELDS {
        // A field that is not named is "nothing", as in the game's default input.
        let Some(value) = object.get(field.name) else { continue };
        let elements = match value {
            Value::Array(elements) => elements.as_slice(),
            value => std::slice::from_ref(value),
        };
        ensure!(elements.len() == field.count as usize, "`{}` has {} elements", field.name, field.count);
        for (index, element) in elements.iter().enumerate() {
            let at = field.offset as usize + index * field.kind.size();
            let place = bytes.get_mut(at..).unwrap_or_default();
            put(field.kind, element, place)
                .with_context(|| format!("`{}` cannot be {element}", field.name))?;
        }
    }
    let mut input = G::Input::parse(&bytes)?;
    input.canonicalise();
    ensure!(G::check(&input), "the game refuses {value}");
    let reason = match object.get("reason") {
        None => Reason::Arrived,
        Some(name) => {
            let found = REASONS.iter().find(|(_, known)| Some(*known) == name.as_str());
            found.map(|(reason, _)| *reason).with_context(|| format!("no reason: {name}"))?
        }
    };
    Ok(SeatInput { input, reason })
}

/// Writes an element; nothing that its kind cannot hold is bent to fit.
fn put(kind: FieldKind, value: &Value, place: &mut [u8]) -> anyhow::Result<()> {
    if kind.is_float() {
        let number = value.as_f64().context("not a number")? as f32;
        ensure!(number.is_finite(), "not a finite number");
        let bytes = number.to_le_bytes();
        place.get_mut(..bytes.len()).context("out of its record")?.copy_from_slice(&bytes);
        return Ok(());
    }
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let number: i128 = text.parse().map_err(|_| anyhow!("not a whole number"))?;
    let wire = if kind == FieldKind::U64 { u64::try_from(number)? as i64 } else { i64::try_from(number)? };
    kind.from_wire(wire, place);
    ensure!(kind.to_wire(place) == wire, "out of range");
    Ok(())
}
