use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// A sink that others can look into.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn reader(clock: Clock) -> impl FnMut() -> Row + Send + 'static {
    move || Row { t: clock.now(), ..Row::default() }
}

#[test]
fn steps_fill_the_range_evenly_and_never_leave_it() {
    let period = Period::default();
    let steps: Vec<f64> = (0..1000).map(|n| period.step(n).as_secs_f64()).collect();
    assert!(steps.iter().all(|s| (0.020..=0.050).contains(s)));
    // Any hundred in a row fill ten bins with ten each, give or take one or two.
    for start in [0, 300, 900] {
        let mut bins = [0u32; 10];
        steps[start..start + 100].iter().for_each(|s| bins[((s - 0.020) / 0.003_000_1) as usize] += 1);
        assert!(bins.iter().all(|b| (8..=12).contains(b)), "{bins:?}");
    }
}

#[test]
fn a_rate_must_be_possible() {
    assert_eq!(Period::fixed_hz(10.0), Some(Period::Fixed(Duration::from_millis(100))));
    for bad in [0.0, -1.0, f64::NAN, 1e6] {
        assert_eq!(Period::fixed_hz(bad), None);
    }
}

#[test]
fn rows_come_in_order_and_the_stop_is_prompt() {
    let clock = Clock::start();
    // A period of ten seconds: stopping must not wait for it.
    let slow = Sampler::of(reader(clock), 0, clock, Period::Fixed(Duration::from_secs(10)), None).unwrap();
    let sampler =
        Sampler::of(reader(clock), 0, clock, Period::Fixed(Duration::from_millis(2)), None).unwrap();
    let mut so_far = Vec::new();
    // A loaded machine may be slow to run the thread.
    while so_far.len() < 3 && clock.now() < 20_000_000_000 {
        std::thread::sleep(Duration::from_millis(5));
        so_far = sampler.rows(0, clock.now());
    }
    sampler.forget_before(clock.now());
    let asked = clock.now();
    let samples = sampler.stop();
    assert!(so_far.len() >= 3);
    assert!(so_far.windows(2).all(|p| p[0].t < p[1].t));
    assert!(samples.rows.last().unwrap().t >= asked, "the last reading is taken at the stop");
    assert!(samples.cost.readings as usize > so_far.len());
    assert!(samples.cost.cpu_s > 0.0 && samples.cost.longest_gap_s >= 0.001);
    let slow = slow.stop();
    assert!(slow.rows.len() <= 2 && slow.cost.longest_gap_s < 9.0);
}

#[test]
fn the_file_has_a_header_at_once_and_a_row_for_each_reading() {
    let clock = Clock::start();
    let out = Shared::default();
    let sampler = Sampler::of(
        reader(clock),
        0,
        clock,
        Period::Fixed(Duration::from_millis(5)),
        Some(Trace::to(Box::new(out.clone()))),
    )
    .unwrap();
    assert!(out.text().starts_with("t_s,power_w,"));
    let samples = sampler.stop();
    assert_eq!(out.text().lines().count(), samples.rows.len() + 1);
    assert!(samples.write_error.is_none());
}

#[test]
fn a_full_disk_ends_the_file_and_not_the_sampling() {
    struct Full(Arc<AtomicU64>);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // The header fits.
            if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
                Ok(bytes.len())
            } else {
                Err(io::ErrorKind::StorageFull.into())
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let clock = Clock::start();
    let out = Box::new(Full(Arc::default()));
    let sampler =
        Sampler::of(reader(clock), 0, clock, Period::Fixed(Duration::from_millis(2)), Some(Trace::to(out)))
            .unwrap();
    std::thread::sleep(Duration::from_millis(30));
    let samples = sampler.stop();
    assert_eq!(samples.write_error.unwrap().kind(), io::ErrorKind::StorageFull);
    assert!(samples.rows.len() >= 2);
}

#[test]
fn this_machine_can_be_sampled_whatever_it_has() {
    let clock = Clock::start();
    let machine = Machine::open(clock, Some(std::process::id()));
    let gpus = machine.gpus();
    let out = Shared::default();
    let sampler = Sampler::start(machine, Period::default(), Some(Trace::to(Box::new(out.clone())))).unwrap();
    let samples = sampler.stop();
    let row = samples.rows.last().unwrap();
    assert_eq!(row.gpus.len(), gpus);
    if cfg!(target_os = "linux") {
        assert!(row.process.unwrap().rss_bytes > 1 << 20);
    }
    // Two columns have a fixed place; a value that is missing is an empty cell, never a zero.
    let text = out.text();
    let cells: Vec<_> = text.lines().last().unwrap().split(',').collect();
    assert_eq!(cells.len(), text.lines().next().unwrap().split(',').count());
    assert!(cells[0].parse::<f64>().unwrap() >= 0.0);
    assert_eq!(cells[1].is_empty(), row.power_w().is_none());
}
