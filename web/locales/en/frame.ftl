# Texts of the console. One key per line of what people read; the other languages have the same keys and placeholders.

skip = Skip to content
copy = Copy
copied = Copied
undo = Undo
cancel = Cancel
filter = Filter
filter-clear = Clear filter
list-no-match = Nothing matches.
public = Public
private = Private
immutable = Immutable

nav-main = Main
nav-crumbs = Breadcrumb
nav-tabs = Sections
nav-menu = Menu
nav-home = Home
nav-projects = Projects
nav-search = Search
theme = Theme
theme-system = System
theme-light = Light
theme-dark = Dark

time-now = just now
time-minutes-ago = { $count ->
    [one] { $count } minute ago
   *[other] { $count } minutes ago
}
time-hours-ago = { $count ->
    [one] { $count } hour ago
   *[other] { $count } hours ago
}
time-days-ago = { $count ->
    [one] { $count } day ago
   *[other] { $count } days ago
}

pager = Pages
pager-range = { $first }–{ $last } of { $total }
pager-before = Previous
pager-after = Next

column-name = Name
column-visibility = Visibility
column-repositories = Repositories
column-created = Created
column-updated = Updated
column-artifacts = Artifacts
column-pulls = Pulls
column-tag = Tag
column-digest = Digest
column-size = Size
column-pushed = Pushed

login-title = Sign in
login-name = User name or e-mail
login-password = Password
login-button = Sign in
login-wrong = The name or the password is wrong.
login-throttled = { $count ->
    [one] Too many failed attempts. Try again in { $count } second.
   *[other] Too many failed attempts. Try again in { $count } seconds.
}
logout = Sign out
banner-first-password = The administrator's password is still the one made at the first start. Change it.

about-title = About
about-what = Hythe is a container registry platform.
about-version = Version

search-label = Search
search-placeholder = Projects, repositories, tags, digests
search-title = Search
search-page-label = Name or part of a name, or the beginning of a digest
search-button = Search
search-hint = Type a part of the name of a project, a repository or a tag, a word of a description, or the first six digits of a digest.
search-nothing = Nothing you may see contains “{ $name }”.
search-more = There may be more than is shown here. Type more of the name to see the rest.
search-digests = Digests

home-title = Home
home-projects = Projects
home-repositories = Repositories
home-storage = Storage used
home-recent = Recently changed projects
home-all-projects = { $count ->
    [one] { $count } project
   *[other] All { $count } projects
}
repositories-count = { $count ->
    [one] { $count } repository
   *[other] { $count } repositories
}

projects-title = Projects
projects-filter = Filter projects
projects-empty = No projects yet. A project groups images and who may use them.
project-new-title = New project
project-name = Name
project-name-hint = Lower-case letters, digits and . _ - between them. It is the first part of every image name and cannot be changed.
project-public = Public
project-public-hint = Anybody may pull from it without signing in.
project-create = Create project
project-tab-overview = Overview
project-tab-repositories = Repositories
project-empty = No images in “{ $name }” yet. Push one from any machine with Docker or Podman.
told-project-created = Project { $name } was created.
push-title = Push an image
quota-used = Storage used
quota-of = of { $name }
quota-unlimited = No limit

repositories-title = Repositories
repositories-filter = Filter repositories
repository-tab-tags = Tags
tags-filter = Filter tags
tags-empty = No tags.

error-missing-what = There is nothing here
error-missing-why = The page does not exist, or you may not see it.
error-missing-next = Check the address, or sign in with an account that may see it.
error-signin-what = Sign in first
error-signin-why = This page is for people who are signed in.
error-signin-next = Sign in and come back.
error-forbidden-what = You may not do this
error-forbidden-why = Your role does not include it.
error-forbidden-next = Ask an administrator of the project for another role.
error-stale-what = This form is too old
error-stale-why = It was made for another session, or not by this console. Nothing was changed.
error-stale-next = Go back, load the page again and send the form once more.
error-refused-what = This was refused
error-refused-why = Nothing was changed.
error-refused-next = Go back, correct it and try again.
error-throttled-what = Too many requests
error-throttled-why = Nothing was changed.
error-throttled-next = Wait a moment and try again.
error-unavailable-what = Not available now
error-unavailable-why = The database or the storage does not answer. Nothing is lost.
error-unavailable-next = Try again in a moment.
error-broken-what = Something went wrong
error-broken-why = This is a fault of the server. It has been written to its log.
error-broken-next = Try again; if it stays, tell an administrator the number below.
error-request = request

# Keys

keys-title = Keyboard shortcuts
keys-copy = Copy the pull command, or what the row offers
keys-rows = Next row, previous row
keys-select = Select the row
keys-open = Open the row
keys-close = Close what is open
close = Close
