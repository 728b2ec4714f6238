//! What is done to bytes from outside: shared by the fuzz targets and by the tests that replay their seeds.

/// Image bytes: view them and, if they are an image, use everything in it.
pub(crate) mod image {
    use evenkeel::Level;
    use evenkeel::image::{AlignedBytes, FORMAT_VERSION, Image, ImageError, MAGIC, NUMERIC_CONTRACT, Op, checksum};
    use evenkeel::infer::Net;
    use evenkeel::split::Serial;

    /// Reads every part of the image and runs it on three rows, one at a time.
    pub(crate) fn view(bytes: &[u8]) -> Result<(), ImageError> {
        let bytes = AlignedBytes::from(bytes);
        let image = Image::new(&bytes)?;
        assert_eq!(image.class_names().len(), image.class_names().filter(|name| name.len() <= bytes.len()).count());
        assert!(image.note().len() <= bytes.len());
        // What would take long is only looked at: up to 1,025 operations on rows of up to 1,048,576 values.
        let work = image.ops().fold(0_usize, |work, op| work.saturating_add(cost(&op)));
        if work > 1 << 20 {
            return Ok(());
        }
        let net = Net::new(image);
        let input: Vec<f32> = (0..3 * net.inputs()).map(|i| (i % 7) as f32 - 3.0).collect();
        let mut output = vec![0.0; 3 * net.outputs()];
        let mut scratch = vec![0.0; net.scratch_len(1)];
        net.infer(Level::PORTABLE, &Serial, &input, &mut output, &mut scratch).expect("a valid image runs");
        Ok(())
    }

    fn cost(op: &Op<'_>) -> usize {
        match *op {
            Op::Dense { inputs, outputs, .. } => inputs.saturating_mul(outputs),
            Op::ScaleShift { features, .. }
            | Op::Activation { features, .. }
            | Op::Softmax { features }
            | Op::LogSoftmax { features } => features,
            _ => 0,
        }
    }

    /// Mends what would end the examination early: magic, versions, length and checksum.
    pub(crate) fn mend(bytes: &mut [u8]) {
        if bytes.len() < 64 {
            return;
        }
        bytes[..4].copy_from_slice(&MAGIC);
        // A version that is read stays: which one it must be depends on the operations.
        let version = u16::from_le_bytes([bytes[4], bytes[5]]);
        if version == 0 || version > FORMAT_VERSION {
            bytes[4..6].copy_from_slice(&(1 + version % FORMAT_VERSION).to_le_bytes());
        }
        bytes[6..8].copy_from_slice(&NUMERIC_CONTRACT.to_le_bytes());
        let len = bytes.len() as u64;
        bytes[8..16].copy_from_slice(&len.to_le_bytes());
        let sum = checksum(bytes);
        bytes[16..20].copy_from_slice(&sum.to_le_bytes());
    }
}
