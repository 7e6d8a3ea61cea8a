    unreachable
