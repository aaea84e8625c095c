package gce

import (
	"fmt"
	"slices"

	"github.com/poclog/poclog/internal/lab/chip"
)

// A Host is a machine with one chip in each socket.
type Host struct {
	Name    string
	Zone    string
	Sockets []*chip.Platform

	cloud *Cloud
}

// NewHost puts a machine into a zone and lists its chips.
func (c *Cloud) NewHost(zone string, sockets int) (*Host, error) {
	if !slices.Contains(c.Zones, zone) || sockets < 1 || sockets > 8 {
		return nil, fmt.Errorf("host with %d sockets in %q: want 1 to 8, and a zone of the cloud", sockets, zone)
	}
	h := &Host{Name: fmt.Sprintf("host-%d", len(c.Hosts)), Zone: zone, cloud: c}
	for i := range sockets {
		p := c.Maker.NewPlatform(fmt.Sprintf("%s/socket-%d", h.Name, i), nil)
		h.Sockets = append(h.Sockets, p)
		c.Registry.List(p.PPID, zone, c.Now)
	}
	c.Hosts = append(c.Hosts, h)
	return h, nil
}

// Relocate moves an empty host to another zone, and lists its chips there.
func (h *Host) Relocate(zone string) error {
	if !slices.Contains(h.cloud.Zones, zone) {
		return fmt.Errorf("relocate %s: no zone %q", h.Name, zone)
	}
	for _, v := range h.cloud.VMs {
		if v.Host == h {
			return fmt.Errorf("relocate %s: VM %s runs on it", h.Name, v.TPM.Instance.InstanceName)
		}
	}
	h.Zone = zone
	for _, p := range h.Sockets {
		h.cloud.Registry.List(p.PPID, zone, h.cloud.Now)
	}
	return nil
}
