"""What people write, parsed once: matchers, expressions, templates, prose, durations and the strict YAML around them.

Everything here fails at load with a position and never at night with a surprise. Columns are 1-based and relative to
the text handed in; `strict_yaml` turns them into positions in the file.
"""
