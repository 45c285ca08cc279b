"""The demonstration: one real release after another, told as it happens.

    __main__    `python -m demo`, and `python -m demo end` after KEEP=1
    story       the acts in order, each checked when it has ended
    acts        what happens in each act, and the words around it
    stage       the sandbox, the operator, the bridges and the devices that the acts play on
    installation, git, browser   how a platform team has Backstay: as a chart, steered by commits, on a page
    narrator    the terminal: a live picture, or plain lines where there is no terminal
    checker     finds out by its own means whether what was told is true

`firmware`, `model`, `config` and `artifacts` make what is released.
"""
