//! What the loops compute, beside the same done one value at a time: a loop that does too little would look fast.
use super::*;

#[test]
fn multiply_adds() {
    for l in available() {
        let (a, b) = (0.999_999_f32, 1e-7);
        let one = (0..100).fold(1.0_f32, |v, _| v.mul_add(a, b));
        let all = unsafe { (l.fma)(100) };
        assert!((all / (one * (l.fma_vectors * l.lanes) as f32) - 1.0).abs() < 1e-5, "{}: {all}", l.name);
        let mut x = Buf::new(10 * l.fma_l1_step);
        x.m().fill(2.0);
        let (sum, want) = (unsafe { (l.fma_l1)(x.s(), 3) }, 6e-7 * (10 * l.fma_l1_step) as f32);
        assert!((sum / want - 1.0).abs() < 1e-5, "{}: {sum}", l.name);
    }
}

#[test]
fn memory() {
    for l in available() {
        // Whole numbers, so that any order of the sum gives the same.
        let mut x = Buf::new(64 * l.read_step);
        x.m().iter_mut().enumerate().for_each(|(i, v)| *v = (i % 13) as f32);
        let sum: f32 = x.s().iter().sum();
        assert_eq!(unsafe { [(l.read)(x.s()), (l.read_4s)(x.s())] }, [sum; 2], "{}", l.name);
        let mut y = Buf::new(x.len);
        unsafe { (l.copy)(x.s(), y.m()) };
        assert!(x.s() == y.s());
        unsafe { (l.write)(x.m(), 3.0) };
        unsafe { (l.write_nt)(y.m(), 4.0) };
        assert!(x.s().iter().all(|v| *v == 3.0) && y.s().iter().all(|v| *v == 4.0));
    }
}

#[test]
fn halves() {
    for l in available() {
        // 1, 2, 3 and 4.
        let x: Vec<u16> = [0x3c00, 0x4000, 0x4200, 0x4400].repeat(256);
        assert_eq!(unsafe { (l.widen_sum)(&x) }, 2560.0, "{}", l.name);
        let mut y = Buf::new(x.len());
        unsafe { (l.widen_store)(&x, y.m()) };
        assert_eq!(y.s(), [1.0, 2.0, 3.0, 4.0].repeat(256), "{}", l.name);
    }
}

#[test]
fn philox() {
    for l in available() {
        let (turns, lanes) = (7, l.lanes / 2);
        let mut sums = vec![0u32; lanes];
        for i in 0..turns * l.philox_words / 4 {
            let (mut c, mut k) = ([i as u32, 0, 0, 0], [1u32, 2]);
            for _ in 0..10 {
                let (p0, p1) = (0xD251_1F53 * c[0] as u64, 0xCD9E_8D57 * c[2] as u64);
                c = [(p1 >> 32) as u32 ^ c[1] ^ k[0], p1 as u32, (p0 >> 32) as u32 ^ c[3] ^ k[1], p0 as u32];
                k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
            }
            sums[i % lanes] ^= c[0] ^ c[1] ^ c[2] ^ c[3];
        }
        let want = sums.iter().fold(0u32, |s, v| s.wrapping_add(*v));
        assert_eq!(unsafe { (l.philox)(turns) }, want, "{}", l.name);
    }
}
