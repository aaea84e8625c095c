package chip

import "crypto/sha512"

// Report makes the TDREPORT of which a quote of the TD is made (TDREPORT_STRUCT, 1,024 bytes), but
// for its MAC and CPUSVN, which only the chip itself can check.
func (td TD) Report() []byte {
	const tcbInfo, tdInfo, reportData = 256, 512, 128
	const seam, registers = 120, 400 // bytes of a quote's body about the module, and about the TD
	body := td.body()
	r := make([]byte, 1024)
	r[0] = 0x81 // TDX
	r[tcbInfo] = 0xff
	copy(r[tcbInfo+8:], body[:seam])
	copy(r[tdInfo:], body[seam:seam+registers])
	copy(r[reportData:], td.ReportData[:])
	tcb, info := sha512.Sum384(r[tcbInfo:][:239]), sha512.Sum384(r[tdInfo:])
	copy(r[32:], tcb[:])
	copy(r[80:], info[:])
	return r
}
