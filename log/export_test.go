package log

// OnParse has a test told what admission parses. It is called before anything is submitted.
func (s *Service) OnParse(f func(what string)) { s.parsed = f }
