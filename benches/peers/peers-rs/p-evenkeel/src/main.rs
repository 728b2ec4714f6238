//! evenkeel as a peer among peers: every workload through the interfaces that its users have.
//!
//! `EVENKEEL_LEVEL` forces a level and then becomes part of the peer's name, as in `evenkeel@avx2`.

mod kernels;
mod net;
mod random;
mod training;

use evenkeel::host::pool::Pool;
use evenkeel::split::Split;
use evenkeel::{Level, Serial};
use peers_common::{Case, Ctx, Kind, Value, main_loop};

/// What every workload needs: where to report to, and how to compute.
pub struct Bench<'a, P> {
    pub ctx: &'a Ctx,
    pub level: Level,
    pub split: &'a P,
    pub peer: &'a str,
}

impl<P: Split> Bench<'_, P> {
    /// Measures `call`; `variant` is appended to the peer's name, "" for the one that the report judges.
    pub fn measure(&self, case: &Case, variant: &str, extra: Value, call: impl FnMut()) {
        self.ctx.bench(case, &format!("{}{variant}", self.peer), extra, call);
    }

    fn run(&self, case: &Case, images: &mut net::Images) {
        match &case.kind {
            Kind::Infer { model } => net::infer(self, case, model, images),
            Kind::Train { model } => training::train(self, case, model),
            Kind::Epoch { model } => training::epoch(self, case, model),
            Kind::Gemm { m, k, n } => kernels::gemm(self, case, *m, *k, *n),
            Kind::BnTrain { rows, cols } => kernels::bn_train(self, case, *rows, *cols),
            Kind::GemvF16 { k, n } => kernels::gemv_f16(self, case, *k, *n),
            Kind::Dropout(len) => random::dropout(self, case, *len),
            Kind::PhiloxU32(len) => random::philox_u32(self, case, *len),
            Kind::UniformF32(len) => random::uniform_f32(self, case, *len),
            Kind::Other => self.ctx.error(case, self.peer, "no such workload"),
        }
    }
}

fn main() {
    let level = Level::from_env().unwrap_or_else(|error| {
        eprintln!("EVENKEEL_LEVEL: {error}");
        std::process::exit(2);
    });
    let forced = std::env::var_os("EVENKEEL_LEVEL").is_some();
    let peer = if forced { format!("evenkeel@{level}") } else { "evenkeel".to_string() };
    let mut images = net::Images::default();
    let mut pool = None;
    main_loop(
        "evenkeel",
        |_| (),
        |ctx, case| {
            if ctx.threads == 1 {
                Bench { ctx, level, split: &Serial, peer: &peer }.run(case, &mut images);
            } else {
                let pool: &Pool = pool.get_or_insert_with(|| Pool::new(ctx.threads).expect("threads can be started"));
                pool.enter(|| Bench { ctx, level, split: pool, peer: &peer }.run(case, &mut images));
            }
        },
    );
}
