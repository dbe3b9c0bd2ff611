"""Who does what: divides a kitchen's open work among its chefs, for the scripted player (`coord.agents.greedy`).

Every tick the work is listed anew from the packed row (ingredients that pots lack, pots to start, soups to plate and to
serve) and given out in order of urgency, then of steps: first to chefs whose hands already hold something for it, then
to free hands. Each chef thereby gets one cell to go to and interact with. Where a chef cannot reach the place an item
belongs to, items hop over counters that two chefs share; `hop` counts the hand-overs to the pots and to the hatch.
A pot may also lack what only chefs at another pot can fetch (`starved`): they send it on in the same way.
"""
