#!/usr/bin/env python3
"""libweir(3) from weir.h: its opening comment, and every function under the header's own headings.

man_page.py weir.h VERSION >libweir.3
"""
import re
import sys

LEFT_OUT = re.compile(r"/\*\*.*?\*/|/\*.*?\*/", re.S)


def troff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("^", "\\(ha").replace("~", "\\(ti")
    return re.sub(r"(?m)^([.'])", r"\\&\1", text)


def opening(header):
    """The paragraphs of the first comment: (title, text); the first has the title "Shape"."""
    comment = re.search(r"/\*\n(.*?)\*/", header, re.S).group(1)
    paragraphs = "\n".join(line.strip().removeprefix("*").strip() for line in comment.splitlines()).split("\n\n")
    for p in paragraphs:
        text = " ".join(p.split())
        m = re.match(r"([A-Z][a-z]+)\. (.*)", text)
        yield (m.group(1), m.group(2)) if m else ("", text)


def sections(header):
    """(heading, comment and declaration pairs)."""
    parts = re.split(r"/\* -{4,} ?(.*?) ?(?:-{4,} )?\*/\n", header)
    parts[0] = parts[0].split("*/", 1)[1]
    for title, body in zip(["Version", *parts[1::2]], parts[0::2]):
        found = re.findall(r"(?:/\*\*((?:(?!\*/).)*)\*/\s*)?WEIR_API ([^;]*;)", body, re.S)
        if found:
            yield title.split(":")[0], found


def plain(comment):
    text = " ".join(line.strip().removeprefix("*").strip() for line in comment.splitlines())
    return " ".join(re.sub(r"@(param|return|thread) ?", r"\1: ", text).split())


def main():
    path, version = sys.argv[1:]
    with open(path, encoding="utf-8") as f:
        header = f.read()
    out = [f'.TH "LIBWEIR" 3 "" "weir {version}" "weir"', ".SH NAME", "libweir \\- client library of the weir message broker",
           ".SH SYNOPSIS", ".nf", "\\fB#include <weir/weir.h>\\fR", ".sp", "cc app.c $(pkg\\-config \\-\\-cflags \\-\\-libs libweir)",
           ".fi", ".SH DESCRIPTION"]
    for title, text in opening(header):
        out += [f".SS {title}"] if title else []
        out.append(troff(text))
    out.append(".SH FUNCTIONS")
    for title, functions in sections(header):
        out.append(f".SS {troff(title.capitalize())}")
        for comment, declaration in functions:
            code = " ".join(LEFT_OUT.sub("", declaration).split())
            out += [".TP", f"\\fB{troff(code)}\\fR", troff(plain(comment)) or "\\&"]
    out += [".SH EXAMPLES", "Complete programs are in client/examples of the source.", '.SH "SEE ALSO"',
            "\\fBweir\\fR(1), \\fBweir\\-server\\fR(8)"]
    print("\n".join(out))


main()
