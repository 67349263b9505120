//! The stock program: it runs skirmish.

fn main() -> anyhow::Result<()> {
    tiltyard::run::<tiltyard_engine::skirmish::Skirmish>()
}
