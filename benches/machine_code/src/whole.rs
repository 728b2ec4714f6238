//! Training and inference from end to end: what kernels they have of their own, at the level that they choose.

use evenkeel::{Error, Image, Level, Mlp, Net, Serial, Trainer, View};

#[unsafe(no_mangle)]
pub fn train(trainer: &Trainer, net: &mut Mlp, training: View<'_>, validation: View<'_>) -> bool {
    trainer.fit(net, training, Some(validation)).is_ok()
}

#[unsafe(no_mangle)]
pub fn infer(level: Level, image: Image<'_>, x: &[f32], y: &mut [f32], scratch: &mut [f32]) -> Result<(), Error> {
    Net::new(image).infer(level, &Serial, x, y, scratch)
}
