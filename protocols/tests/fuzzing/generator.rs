//! Calls of every procedure, well formed and then damaged: bits flipped, cut short, lengths that lie,
//! fields of one call in another. The same seed gives the same calls.

use crate::targets::PROCEDURES;

/// Words that break things more often than others.
const NASTY: [u32; 20] = [
    0,
    1,
    2,
    3,
    5,
    16,
    17,
    63,
    64,
    65,
    255,
    256,
    400,
    404,
    4096,
    1 << 20,
    1 << 31,
    (1 << 31) - 1,
    u32::MAX - 3,
    u32::MAX,
];

/// A generator of random numbers (SplitMix64).
pub(crate) struct Chance(u64);

impl Chance {
    /// The numbers of the seed in TIDEGATE_SEED, or else of a new one; prints which.
    pub(crate) fn announced(test: &str) -> Self {
        let seed = std::env::var("TIDEGATE_SEED").ok().map(|seed| seed.parse().expect("a number"));
        let seed = seed.unwrap_or_else(|| getrandom::u64().expect("the system has randomness") >> 16);
        println!("{test}: TIDEGATE_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    pub(crate) fn nasty(&mut self) -> u32 {
        NASTY[self.below(NASTY.len())]
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    /// A record: mostly a damaged call, sometimes a whole one, sometimes noise.
    pub(crate) fn record(&mut self) -> Vec<u8> {
        if self.one_in(16) {
            let length = self.below(300);
            return self.bytes(length);
        }
        let mut fields = self.call();
        if self.one_in(4) {
            self.splice(&mut fields);
        }
        let mut record = fields.concat();
        for _ in 0..self.below(4) {
            self.damage(&mut record);
        }
        record
    }

    /// Records with their marks, some of which lie, one after the other.
    pub(crate) fn stream(&mut self) -> Vec<u8> {
        let mut stream = Vec::new();
        for _ in 0..self.below(12) {
            let mut record = self.record();
            if self.one_in(20) {
                let length = self.below(100_000);
                record.resize(record.len().max(length), 7);
            }
            while record.len() > 8 && self.one_in(3) {
                let fragment: Vec<u8> = record.drain(..8).collect();
                stream.extend((fragment.len() as u32).to_be_bytes());
                stream.extend(fragment);
            }
            let mark = if self.one_in(12) { self.nasty() } else { record.len() as u32 | 1 << 31 };
            stream.extend(mark.to_be_bytes());
            stream.extend(record);
        }
        stream
    }

    fn damage(&mut self, record: &mut Vec<u8>) {
        let place = self.below(record.len() / 4) * 4;
        match self.below(4) {
            0 => record.truncate(self.below(record.len() + 1)),
            1 if record.len() >= place + 4 => {
                record[place..place + 4].copy_from_slice(&self.nasty().to_be_bytes());
            }
            2 if !record.is_empty() => {
                let at = self.below(record.len());
                record[at] ^= 1 << self.below(8);
            }
            _ => {
                let more = self.below(40);
                record.extend(self.bytes(more));
            }
        }
    }

    /// Puts fields of another call in the place of some of this one, or leaves some out, or repeats them.
    fn splice(&mut self, fields: &mut Vec<Vec<u8>>) {
        let other = self.call();
        let (at, from) = (self.below(fields.len()), self.below(other.len()));
        match self.below(4) {
            0 => fields[at].clone_from(&other[from]),
            1 => drop(fields.remove(at)),
            2 => fields.insert(at, other[from].clone()),
            _ => fields.splice(at.., other[from..].iter().cloned()).for_each(drop),
        }
    }

    /// A well-formed call, field by field.
    fn call(&mut self) -> Vec<Vec<u8>> {
        let (program, version, procedure) = PROCEDURES[self.below(PROCEDURES.len())];
        let mut fields = vec![words(&[self.next() as u32, 0, 2]), words(&[program, version, procedure])];
        self.credential(&mut fields);
        match program {
            100_003 => self.nfs_arguments(procedure, &mut fields),
            100_005 if matches!(procedure, 1 | 3) => fields.push(opaque(b"/share")),
            100_000 => fields.push(words(&[100_003, 3, 6, 0])),
            _ => {}
        }
        fields
    }

    fn credential(&mut self, fields: &mut Vec<Vec<u8>>) {
        if self.one_in(2) {
            fields.push(words(&[0, 0]));
        } else {
            let groups = self.below(17) as u32;
            let machine = opaque(b"client");
            let length = 4 + machine.len() + 12 + groups as usize * 4;
            fields.push(words(&[1, length as u32, 0]));
            fields.push(machine);
            fields.push(words(&[1000, 100, groups]));
            fields.extend((0..groups).map(|group| words(&[group])));
        }
        fields.push(words(&[0, 0]));
    }

    fn nfs_arguments(&mut self, procedure: u32, fields: &mut Vec<Vec<u8>>) {
        if procedure == 0 {
            return;
        }
        fields.push(self.handle());
        match procedure {
            2 => fields.extend([self.attributes(), words(&[0])]),
            3 | 12 | 13 => fields.push(self.name()),
            4 => fields.push(words(&[0x3f])),
            6 | 21 => fields.extend([self.offset(), words(&[self.count()])]),
            7 => self.write(fields),
            8 => fields.extend([self.name(), words(&[1]), self.attributes()]),
            9 => fields.extend([self.name(), self.attributes()]),
            10 => fields.extend([self.name(), self.attributes(), opaque(b"a/target")]),
            11 => fields.extend([self.name(), words(&[3]), self.attributes(), words(&[8, 1])]),
            14 => fields.extend([self.name(), self.handle(), self.name()]),
            15 => fields.extend([self.handle(), self.name()]),
            16 => fields.extend([self.offset(), vec![0; 8], words(&[self.count()])]),
            17 => fields.extend([self.offset(), vec![0; 8], words(&[self.count(), self.count()])]),
            _ => {}
        }
    }

    fn write(&mut self, fields: &mut Vec<Vec<u8>>) {
        let length = if self.one_in(10) { self.below(100_000) } else { self.below(100) };
        let data = vec![9; length];
        fields.extend([self.offset(), words(&[length as u32, self.below(3) as u32]), opaque(&data)]);
    }

    fn handle(&mut self) -> Vec<u8> {
        let mut handle = vec![1; self.below(65)];
        if let Some(first) = handle.first_mut() {
            *first = if self.one_in(8) { 0x80 } else { 1 };
        }
        opaque(&handle)
    }

    fn name(&mut self) -> Vec<u8> {
        opaque(&vec![b'n'; if self.one_in(8) { self.below(1000) } else { 1 + self.below(20) }])
    }

    fn offset(&mut self) -> Vec<u8> {
        if self.one_in(4) {
            words(&[self.nasty(), self.nasty()])
        } else {
            words(&[0, self.below(9999) as u32])
        }
    }

    fn count(&mut self) -> u32 {
        if self.one_in(2) { self.nasty() } else { 4096 }
    }

    /// Attributes to set: all of them, none, or some.
    fn attributes(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for length in [1, 1, 1, 2] {
            let set = self.below(2);
            out.extend(words(&[set as u32]));
            out.extend(vec![0; set * length * 4]);
        }
        for _ in 0..2 {
            let how = self.below(3) as u32;
            out.extend(words(&[how]));
            out.extend(if how == 2 { words(&[5, 6]) } else { Vec::new() });
        }
        out
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn opaque(bytes: &[u8]) -> Vec<u8> {
    let mut out = words(&[bytes.len() as u32]);
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}
