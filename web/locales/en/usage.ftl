# Charts, favourites, what wants attention.

chart-storage = Storage
chart-pulls = Pulls per day
chart-pushes = Pushes per day
chart-now = { $name } now
chart-sum = { $sum } in { $days ->
    [one] { $days } day
   *[other] { $days } days
}
chart-said-storage = Storage from { $from } on { $first } to { $to } on { $last }, { $most } at most.
chart-said-times = { $title }: { $sum } in { $days } days, { $most } at most, on { $day }.
chart-said-none = { $title }: none in { $days } days.
chart-table = { $name } as a table
chart-day = Day (UTC)
chart-unknown = not known
chart-pulls-recent = Pulls in 30 days
chart-pulls-recent-label = Pulls in 30 days:
project-largest = Largest repositories
storage-full-in = { $count ->
    [one] At the growth of the last 30 days, the storage is full in about { $count } day.
   *[other] At the growth of the last 30 days, the storage is full in about { $count } days.
}
favourite = Favourite
favourites-title = Favourites
favourites-title-all = All favourites
favourites-all = All projects
favourites-which = Which projects
favourites-empty = No favourites yet. Mark a project with the star on its page.
home-robot-ends = robot account ends { $name }
home-audit-lost = Acts were lost
