// Standard library only, and what Debian's Go 1.19 takes.
module fluidgate.test/reader

go 1.19
