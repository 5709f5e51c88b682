package pgarchive

import "encoding/binary"

// adlerBase is Adler-32's modulus (RFC 1950, 8.2).
const adlerBase = 65521

// adlerBlock is how many bytes are summed in lanes of 16 bits before a lane could overflow, and adlerRun how many
// before a sum of 64 bits could.
const (
	adlerBlock = 16 * 8
	adlerRun   = 1 << 20
)

// adler is the Adler-32 of p. hash/adler32 adds one byte after the other and takes more than twice as long, a tenth of
// all that a backup of binary data computes. Here eight bytes are added at a time, the even ones in four lanes and the
// odd ones in four more. low is 1 and the sum of all bytes, high that of all lows on the way: each byte counts once for
// itself and once for every byte after it.
func adler(p []byte) uint32 {
	low, high := uint64(1), uint64(0)
	for len(p) > 0 {
		run := p[:min(len(p), adlerRun)]
		p = p[len(run):]
		for ; len(run) >= adlerBlock; run = run[adlerBlock:] {
			const bytes = 0x00ff_00ff_00ff_00ff
			var even, odd, evens, odds uint64 // sums of bytes, and sums of those sums before each word
			block := (*[adlerBlock]byte)(run)
			for i := 0; i < adlerBlock; i += 16 {
				word := binary.LittleEndian.Uint64(block[i:])
				evens += even
				odds += odd
				even += word & bytes
				odd += word >> 8 & bytes
				word = binary.LittleEndian.Uint64(block[i+8:])
				evens += even
				odds += odd
				even += word & bytes
				odd += word >> 8 & bytes
			}
			high += adlerBlock*low + 8*(lanes(evens)+lanes(odds)) + weighed(even, odd)
			low += lanes(even + odd)
		}
		for _, b := range run {
			low += uint64(b)
			high += low
		}
		low %= adlerBase
		high %= adlerBase
	}
	return uint32(high<<16 | low) //nolint:gosec // each half is below 2^16
}

const lanes02 = 0x0000_ffff_0000_ffff

// lanes is the sum of v's four lanes.
func lanes(v uint64) uint64 {
	v = v&lanes02 + v>>16&lanes02
	return v&0xffff_ffff + v>>32
}

// weighed is the sum of a word's eight bytes, each as often as there are bytes from it to the word's end.
func weighed(even, odd uint64) uint64 {
	both := even + odd
	first, second := both&lanes02, both>>16&lanes02
	pairs := (4*first+3*second)&0xffff_ffff + (2*first+second)>>32
	return 2*pairs - lanes(odd)
}

// joinAdler is the Adler-32 of a text of which a and b are those of two parts, the second of n bytes. Its low half
// is one more than the sum of all bytes, its high half the sum of all low halves on the way, to which the first
// part's low half is added once for each byte of the second.
func joinAdler(a, b uint32, n int) uint32 {
	aLow, aHigh := uint64(a&0xffff), uint64(a>>16)
	bLow, bHigh := uint64(b&0xffff), uint64(b>>16)
	times := uint64(n % adlerBase) //nolint:gosec // a length
	low := (aLow + bLow + adlerBase - 1) % adlerBase
	high := (aHigh + bHigh + times*(aLow+adlerBase-1)) % adlerBase
	return uint32(high<<16 | low) //nolint:gosec // each half is below 2^16
}
