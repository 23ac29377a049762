# Lists: what narrows them, how many there are, what is done with many of them.

lists-lost = The server cannot be reached. Trying again …
lists-found = { $count ->
    [0] Nothing found
    [one] { $count } found
   *[other] { $count } found
}
lists-contains = Contains “{ $name }”
lists-chip = { $name }: { $other }
lists-remove-filter = Remove the filter
lists-rows = Rows
lists-job-ended = { $name }: { $other }
lists-platform = Platform
lists-label = Label
lists-trust = Signature
lists-signed = Signed
lists-unsigned = Not signed
lists-pushed-from = Pushed from
lists-pushed-to = Pushed until
lists-pulled-from = Pulled from
lists-pulled-to = Pulled until
lists-idle = Not pulled for (days)
lists-more = More filters
lists-delete-all = { $count ->
    [one] Delete the { $count } that matches…
   *[other] Delete all { $count } that match…
}
lists-and-more = { $count ->
    [one] and { $count } more
   *[other] and { $count } more
}
lists-kept = { $count ->
    [one] { $count } immutable tag stays.
   *[other] { $count } immutable tags stay.
}
told-tags-deleted-part = { $count ->
    [one] { $count } tag was deleted. There are more that match: delete again to go on.
   *[other] { $count } tags were deleted. There are more that match: delete again to go on.
}
lists-columns = Columns
lists-columns-show = Show these
