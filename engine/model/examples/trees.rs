//! How long a model of trees takes for 1 and for more rows, one core: `trees model.onnx rows…`.
//!
//! Owns a measurement. Refuses to know the model beyond its first input, which is rows of numbers.
//! Bound: half a second for each number of rows.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use truststram_model::kernels::Alone;
use truststram_model::onnx;
use truststram_model::program::{BuildOptions, Program, Session};
use truststram_model::tensor::Shape;

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let path = words.next().ok_or("which model?")?;
    let features: usize = words.next().ok_or("how many features?")?.parse()?;
    let counts = words.map(|word| word.parse()).collect::<Result<Vec<usize>, _>>()?;
    let model = onnx::parse(&std::fs::read(path)?)?;
    let program = Program::build(&model.graph, &BuildOptions::default())?;
    let mut session = Session::new(Arc::new(program));
    for rows in &counts {
        let time = measure(&mut session, *rows, features)?.as_secs_f64() * 1e6;
        let row = time / *rows as f64;
        writeln!(std::io::stdout(), "{rows:6} rows {time:10.2} us {row:8.3} us a row")?;
    }
    Ok(())
}

/// The time of a run among many: one of ten is faster, so that other work does not count.
fn measure(
    session: &mut Session,
    rows: usize,
    features: usize,
) -> Result<Duration, Box<dyn Error>> {
    // Other rows each time, so that no branch of the processor is learned by heart.
    let sets = 64.max(1024 / rows);
    let mut state = 1u64;
    let mut number = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // The sum of four is nearly normal.
        let part = |shift: u32| f32::from((state >> shift) as u16) / 65_536.0 - 0.5;
        (part(0) + part(16) + part(32) + part(48)) * 1.7
    };
    let data: Vec<f32> = (0..sets * rows * features).map(|_| number()).collect();
    let shape = Shape::new(&[rows, features]).ok_or("too many rows")?;
    let mut times = Vec::new();
    let until = Instant::now() + Duration::from_millis(500);
    while Instant::now() < until || times.len() < 16 {
        for set in data.chunks_exact(rows * features) {
            let values = session.input_mut(0).reset_as::<f32>(shape);
            values.copy_from_slice(set);
            let start = Instant::now();
            session.run(&Alone, None)?;
            times.push(start.elapsed());
        }
    }
    times.sort_unstable();
    Ok(times[times.len() / 10])
}
