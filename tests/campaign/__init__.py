"""The promises about crashes, disks, damage and hostile input, tried many times and counted.

    python -m tests.campaign                     every figure of the long mode, as one table
    python -m tests.campaign --quick             what the ordinary tests run, minutes
    python -m tests.campaign crashes --states 100000

One idea per file: `crashes`, `kills`, `disk_faults`, `damage`, `images`, `hostile`, `same_result`,
`planted_bugs`, `properties`. Each has a `measure` that yields figures; the tests of the same name
run it with little effort and want no failures.
"""
