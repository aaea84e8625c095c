package poclog

// snpSigners are the keys that sign SEV-SNP reports.
var snpSigners = []string{"vcek", "vlek"}

func (w *encoder) snp(s *SNPReport) {
	if s == nil {
		return
	}
	w.open("snp", '{')
	w.str("product", s.Product)
	w.str("signer", s.Signer)
	w.uint64("policy", s.Policy)
	w.uint32("guest_svn", s.GuestSVN)
	w.hex("reported_tcb", s.Reported[:])
	w.hex("committed_tcb", s.Committed[:])
	w.hex("launch_tcb", s.Launch[:])
	w.optionalHex("id_key", s.IDKey)
	w.optionalHex("host_data", s.HostData)
	w.char('}')
}

func (d *decoder) snp() *SNPReport {
	s := new(SNPReport)
	d.lit("{")
	d.enum("product", &s.Product, snpProducts)
	d.enum("signer", &s.Signer, snpSigners)
	s.Policy = d.uint64("policy")
	s.GuestSVN = d.uint32("guest_svn")
	for _, f := range []struct {
		name string
		dst  *[8]byte
	}{{"reported_tcb", &s.Reported}, {"committed_tcb", &s.Committed}, {"launch_tcb", &s.Launch}} {
		d.name(f.name)
		d.hexInto(f.dst[:])
	}
	s.IDKey = d.nonZeroHex("id_key", 48)
	s.HostData = d.nonZeroHex("host_data", 32)
	d.lit("}")
	return s
}
