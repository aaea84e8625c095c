package main

import (
	"crypto/sha512"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/lab/azure"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/internal/lab/kds"
	"github.com/poclog/poclog/internal/lab/metal"
	"github.com/poclog/poclog/internal/lab/pcs"
)

// A fleet is a laboratory's machines and VMs of one profile. It is not safe for concurrent use;
// publish is.
type fleet struct {
	policy     func(registry string) *poclog.Policy
	collateral func(at time.Time) *poclog.Collateral
	prove      func(vm int, ch *poclog.Challenge) (*poclog.Bundle, error)
	// What an attacker shows elsewhere with the stolen key of the first VM's chip (on Azure, with a
	// copy of its paravisor's state). It is called once.
	clone   func(ch *poclog.Challenge) (*poclog.Bundle, error)
	publish http.Handler // what manufacturers and provider publish, and the register of chips
}

// fleets are the profiles that a laboratory can have.
var fleets = map[poclog.Profile]func(*laboratory) (*fleet, error){
	poclog.GCETDXvTPM: (*laboratory).gce, poclog.BareMetalTDXTPM: (*laboratory).metal, poclog.AzureTDXvTPM: (*laboratory).azure, poclog.AzureSNPvTPM: (*laboratory).azure,
}

// fleetNames lists the profiles for people.
func fleetNames() (names []string) {
	for p := range fleets {
		names = append(names, string(p))
	}
	slices.Sort(names)
	return names
}

// gce makes Compute Engine's cloud: chassis with one or two sockets over its zones, VMs over the
// chassis. They boot once, when the laboratory begins.
func (l *laboratory) gce() (*fleet, error) {
	c := gce.New(l.Seed, l.From)
	for i := range l.Chassis {
		if _, err := c.NewHost(c.Zones[i%len(c.Zones)], 1+i%2); err != nil {
			return nil, err
		}
	}
	for i := range l.VMs {
		h := c.Hosts[i%len(c.Hosts)]
		vm, err := h.NewVM(i%len(h.Sockets), gce.VMConfig{Image: c.Images[i%len(c.Images)], Version: 4 + i%2})
		if err != nil {
			return nil, err
		}
		if i%3 == 1 {
			vm.Extend(sha512.Sum384([]byte("an application that the guest started")))
		}
	}
	f := &fleet{
		policy:     func(registry string) *poclog.Policy { return c.Policy(nil, registry) },
		collateral: func(at time.Time) *poclog.Collateral { return c.Collateral(chip.CollateralOptions{At: at}) },
		prove: func(i int, ch *poclog.Challenge) (*poclog.Bundle, error) {
			c.Advance(time.Since(c.Now)) // their TPMs' clocks run since then, whatever process asks
			return c.VMs[i%len(c.VMs)].Prove(ch)
		},
	}
	f.clone = func(ch *poclog.Challenge) (*poclog.Bundle, error) {
		thief, err := cloneGCE(c)
		if err != nil {
			return nil, err
		}
		c.Advance(time.Since(c.Now))
		return thief.Prove(ch)
	}
	f.publish = f.server(c.Registry, nil)
	return f, nil
}

// cloneGCE rents a VM in another zone, for which the stolen key of the first VM's chip answers. It
// booted when the laboratory began, as the others.
func cloneGCE(c *gce.Cloud) (*gce.VM, error) {
	away, err := c.NewHost(c.Zones[2], 1)
	if err != nil {
		return nil, err
	}
	away.Sockets[0] = c.VMs[0].Platform()
	return away.NewVM(0, gce.VMConfig{})
}

// metal makes a bare-metal provider: chassis over the zones, which answer by turns.
func (l *laboratory) metal() (*fleet, error) {
	c := gce.New(l.Seed, l.From)
	p := metal.New(l.Seed, attack.MetalName, l.From, c.Maker)
	for i := range l.Chassis {
		m := p.NewMachine(c.Zones[i%len(c.Zones)], i%2 == 0)
		c.Registry.List(m.Chip.PPID, m.Place.Zone, l.From)
	}
	f := &fleet{
		policy:     func(registry string) *poclog.Policy { return p.Policy(nil, registry) },
		collateral: func(at time.Time) *poclog.Collateral { return c.Maker.Collateral(chip.CollateralOptions{At: at}) },
		prove: func(i int, ch *poclog.Challenge) (*poclog.Bundle, error) {
			m := p.Machines[i%len(p.Machines)]
			m.TPM.Clock = uint64(time.Since(l.From).Milliseconds())
			return m.Prove(ch)
		},
		clone: func(ch *poclog.Challenge) (*poclog.Bundle, error) {
			thief := p.NewMachine(c.Zones[2], false)
			thief.Chip = p.Machines[0].Chip
			thief.TPM.Clock = uint64(time.Since(l.From).Milliseconds())
			return thief.Prove(ch)
		},
	}
	f.publish = f.server(c.Registry, nil)
	return f, nil
}

// azure makes Azure's cloud: chassis with chips of Intel's, or of AMD's products by turns, over its
// regions. VMs are made when they first answer, for their keys take a tenth of a second each.
func (l *laboratory) azure() (*fleet, error) {
	var products []string
	if l.Profile == poclog.AzureSNPvTPM {
		products = azure.Products
	}
	c := azure.New(l.Seed, l.From, products...)
	c.Advance(time.Since(c.Now))
	for i := range l.Chassis {
		product := ""
		if len(products) > 0 {
			product = products[i%len(products)]
		}
		c.NewHost(c.Regions[i%len(c.Regions)], product)
	}
	f := &fleet{
		policy: func(string) *poclog.Policy {
			p := c.Policy(nil)
			p.Admit = []poclog.Admission{{Profile: l.Profile, Level: poclog.LevelBound}}
			return p
		},
		collateral: func(at time.Time) *poclog.Collateral { return c.Collateral(chip.CollateralOptions{At: at}) },
		prove: func(i int, ch *poclog.Challenge) (*poclog.Bundle, error) {
			c.Advance(time.Since(c.Now))
			for i %= l.VMs; len(c.VMs) <= i; {
				n := len(c.VMs)
				vm := c.Hosts[n%len(c.Hosts)].NewVM(azure.VMConfig{Image: c.Images[n%len(c.Images)]})
				vm.TPM.SetClock(0, l.From) // it booted when the laboratory began, as the others
			}
			return c.VMs[i].Prove(ch)
		},
	}
	f.clone = func(ch *poclog.Challenge) (*poclog.Bundle, error) {
		twin := *c.Hosts[0].NewVM(azure.VMConfig{Image: c.Images[0]}) // the first VM, as prove makes it
		twin.TPM.SetClock(0, l.From)
		product := ""
		if len(products) > 0 {
			product = products[0]
		}
		twin.Host = c.NewHost(c.Regions[1], product)
		return twin.Prove(ch)
	}
	f.publish = f.server(http.NotFoundHandler(), c)
	return f, nil
}

// server serves the register, the PCS, the provider's bucket and, of a cloud with AMD's chips, the
// KDS.
func (f *fleet) server(register http.Handler, c *azure.Cloud) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", register)
	var mu sync.Mutex // a fleet is not safe for concurrent use
	publish := func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		// A round time, so that it says the same for a while.
		col := f.collateral(time.Now().Add(-time.Minute).Truncate(time.Hour))
		mu.Unlock()
		pcs.Serve(col, w, r)
	}
	for _, prefix := range []string{"/tdx/", "/sgx/", "/ovmf_x64_csm/"} {
		mux.HandleFunc(prefix, publish)
	}
	if c == nil || len(c.AMD) == 0 {
		return mux
	}
	var makers []*amd.Maker
	for _, product := range azure.Products {
		makers = append(makers, c.AMD[product])
	}
	k := kds.New(time.Now().Add(-time.Minute).Truncate(24*time.Hour), makers...)
	for i, h := range c.Hosts {
		k.List(azure.Products[i%len(azure.Products)], h.SNP)
	}
	mux.Handle("/vcek/", k)
	mux.Handle("/vlek/", k)
	return mux
}

// build makes the fleet of the laboratory's profile.
func (l *laboratory) build() (*fleet, error) {
	make, ok := fleets[l.Profile]
	if !ok {
		return nil, fmt.Errorf("no laboratory makes evidence of profile %q", l.Profile)
	}
	return make(l)
}
