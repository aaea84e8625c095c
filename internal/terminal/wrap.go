package terminal

import (
	"strings"
	"unicode/utf8"
)

// leastText is how much room a text needs under its label, to be broken there rather than by the
// terminal.
const leastText = 30

// commandIndent is how far a command on lines of its own is indented.
const commandIndent = 4

// Hang breaks a text behind its label into lines of a width, which stand under the text's
// beginning; 0, and a width with too little room, break nothing. Commands are as in [Wrap].
func Hang(label, text string, width int) string {
	start := utf8.RuneCountInString(label)
	if width-start >= leastText {
		text = Wrap(text, strings.Repeat(" ", start), width)
		if !strings.HasPrefix(text, strings.Repeat(" ", start)) {
			return strings.TrimRight(label, " ") + "\n" + text // a command is first
		}
		text = text[start:]
	}
	return strings.TrimRight(label+text, " ")
}

// Wrap breaks text into lines of a width, each with an indent. What has no spaces stays whole; 0
// breaks nothing. A command in backquotes is not broken: where it has flags and does not fit into
// the rest of its line, it gets lines of its own, without the quotes and what follows them, to be
// copied into a shell.
func Wrap(text, indent string, width int) string {
	if width <= 0 {
		return indent + strings.Join(strings.Fields(text), " ")
	}
	var lines []string
	line := indent
	end := func() {
		if line != indent {
			lines, line = append(lines, line), indent
		}
	}
	for _, w := range words(text) {
		room := width - utf8.RuneCountInString(line)
		if line != indent {
			room--
		}
		command, isCommand := strings.CutPrefix(strings.TrimLeft(w, "("), "`")
		longest := utf8.RuneCountInString(w) > width-len(indent)
		if utf8.RuneCountInString(w) > room && isCommand && (strings.Contains(command, " -") || longest && strings.Contains(command, " ")) {
			end()
			command, _, _ = strings.Cut(command, "`")
			at := len(indent)
			if at+utf8.RuneCountInString(command) > width {
				at = min(at, commandIndent)
			}
			lines = append(lines, commandLines(command, at, width)...)
			continue
		}
		if utf8.RuneCountInString(w) > room {
			end()
		}
		if line != indent {
			line += " "
		}
		line += w
	}
	end()
	if len(lines) == 0 {
		return indent
	}
	return strings.Join(lines, "\n")
}

// words divides a text at its spaces, but for those between backquotes.
func words(text string) (list []string) {
	open := false
	for _, w := range strings.Fields(text) {
		if open {
			list[len(list)-1] += " " + w
		} else {
			list = append(list, w)
		}
		if strings.Count(w, "`")%2 == 1 {
			open = !open
		}
	}
	return list
}

// Command breaks a command for a shell into lines of a width, 0 being any: behind each line but the
// last stands a backslash. A flag stays with its value.
func Command(command string, indent, width int) string {
	if width <= 0 {
		return strings.Repeat(" ", indent) + command
	}
	return strings.Join(commandLines(command, indent, width), "\n")
}

func commandLines(command string, indent, width int) []string {
	const more = " \\"
	start := strings.Repeat(" ", indent)
	lines, line := []string(nil), start
	for _, w := range arguments(command) {
		if strings.TrimSpace(line) != "" && utf8.RuneCountInString(line+" "+w+more) > width {
			lines, line = append(lines, line+more), start+"  "
		}
		if strings.TrimSpace(line) != "" {
			line += " "
		}
		line += w
	}
	return append(lines, line)
}

// arguments are the words of a command, a flag with its value being one.
func arguments(command string) (list []string) {
	for _, w := range strings.Fields(command) {
		if n := len(list) - 1; n > 0 && strings.HasPrefix(list[n], "-") && !strings.Contains(list[n], " ") && !strings.HasPrefix(w, "-") {
			list[n] += " " + w
			continue
		}
		list = append(list, w)
	}
	return list
}
