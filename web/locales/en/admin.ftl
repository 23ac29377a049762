# Administration.

admin-title = Administration
nav-admin-overview = Overview
admin-where = Where to find what
admin-refused-logins = Refused sign-ins, last 24 hours
admin-users-hint = People, their rights and sessions
admin-groups-hint = Groups of directories and identity providers
admin-storage-hint = Room, projects and repositories by size
admin-quotas-hint = How full projects are, and their limits
admin-audit-hint = Who did what
admin-settings-hint = What can be changed while it runs
admin-health-hint = What works, and what to do about the rest

users-title = Users
users-filter = Filter by name or e-mail
users-admins-only = Administrators only
users-empty = No users.
user-new-title = New user
user-create = Create user
user-state = State
user-active = active
user-disabled = disabled
user-sysadmin = administrator
user-own = This is your own account. Its password and rights are not changed here.
user-access = Access
user-is-sysadmin = This account administers the installation: it may do everything.
user-is-no-sysadmin = This account may do what its roles in projects allow.
user-promote = Make administrator
user-demote = Take administration away
user-is-enabled = This account can sign in.
user-is-disabled = This account cannot sign in, and its tokens do not work.
user-disable = Disable
user-enable = Enable
user-last-administrator = This is the last active administrator. Make somebody else one first.
user-password-title = Reset the password
user-password-ends = All sessions of this account end. Tell the new password on a safe way.
user-password-set = Set password
user-no-sessions = Not signed in anywhere.
user-sessions-end = { $count ->
    [one] End { $count } session
   *[other] End all { $count } sessions
}
user-no-tokens = No access tokens.
user-delete = Delete user
user-delete-title = Delete { $name }
user-delete-what = The account ends everywhere within five seconds. Projects and pushed images stay; the audit log keeps the name.
user-delete-sessions = { $count ->
    [one] { $count } session ends
   *[other] { $count } sessions end
}
user-delete-tokens = { $count ->
    [one] { $count } access token is deleted
   *[other] { $count } access tokens are deleted
}
user-delete-projects = { $count ->
    [one] { $count } project loses its owner and stays
   *[other] { $count } projects lose their owner and stay
}
typed-name = Type { $name } to confirm
typed-name-differs = The name is another one. Nothing was deleted.
told-user-created = User { $name } was created.
told-user-promoted = { $name } is an administrator now.
told-user-demoted = { $name } is no administrator any more.
told-user-disabled = { $name } was disabled.
told-user-enabled = { $name } was enabled.
told-user-password = The password of { $name } was set.
told-user-token-deleted = An access token of { $name } was deleted.
told-user-deleted = User { $name } was deleted.

groups-title = Groups
groups-hint = A group is made known here, and gets roles in projects there. Who is in it is told by its directory or identity provider.
groups-filter = Filter groups
groups-empty = No groups.
group-new-title = New group
group-create = Create group
group-kind = Kind
group-kind-oidc = OIDC
group-kind-ldap = LDAP
group-kind-http = HTTP
group-dn = Distinguished name
group-dn-hint = Only for LDAP groups, like cn=team,ou=groups,dc=example,dc=com.
group-dn-bad = An LDAP group needs a distinguished name like cn=team,dc=example.
group-name-hint = As the identity provider calls it. An LDAP group without one is called by its distinguished name.
group-name-bad = The name must have 1 to 255 characters.
group-taken = There is such a group already.
group-delete = Delete group
group-delete-title = Delete { $name }
group-delete-what = The group leaves every project, and what its people were allowed there ends within five seconds.
told-group-created = Group { $name } was created.
told-group-renamed = The group is called { $name } now.
told-group-deleted = Group { $name } was deleted.

quotas-title = Quotas
quota-default = New projects may store { $name }.
quota-default-none = New projects have no limit.
quota-project = Project
quota-fullness = Used
quota-fullness-of = Used of the limit of { $name }
quota-limit = Limit (GiB)
quota-limit-plain = Limit
quota-limit-of = Limit of { $name } in GiB
quota-save-of = Save the limit of { $name }
quota-filling = over 80 %
quota-nearly-full = over 95 %
quota-full = full
quota-bad = A limit is a number of GiB above zero, like 10 or 0.5, or unlimited.
told-quota-set = The limit of { $name } was saved.

storage-title = Storage
storage-charged = Used by projects
storage-room = Room for blobs
storage-free = { $name } free
storage-hint = What a project uses counts every blob once. A blob that several repositories share counts in each of them, so repositories can add up to more.
storage-projects = Largest projects
storage-owner = Owner
storage-repositories = Repositories
storage-empty = Nothing is stored yet.

jobs-title = Jobs
jobs-at-work = { $count ->
    [one] { $count } job at work
   *[other] { $count } jobs at work
}
jobs-filter = Filter jobs
jobs-empty = No jobs.
jobs-older = Older
job-kind = Kind
job-progress = Progress
job-asked = Asked by
job-scheduled = schedule { $name }
job-started = Started
job-finished = Finished
job-attempts = Attempts
job-log = Log
job-log-empty = Nothing was logged.
job-queued = Waiting
job-running = Running
job-retrying = Trying again
job-stopping = Stopping
job-done = Done
job-failed = Failed
job-stopped = Stopped

audit-title = Audit log
audit-filter = Filter the audit log
audit-actor = Who
audit-operation = Act
audit-kind = Kind
audit-resource = About
audit-project = Project
audit-result = Result
audit-range = Time
audit-from = From
audit-to = To
audit-range-hour = Last hour
audit-range-day = Last 24 hours
audit-range-week = Last 7 days
audit-range-month = Last 30 days
audit-time = When
audit-action = What
audit-origin = From where
audit-done = done
audit-refused = refused
audit-failed = failed
audit-not-done = refused or failed
audit-anonymous = nobody signed in
audit-robot = robot
audit-repeated = × { $count }
audit-empty = Nothing was recorded yet.
audit-export = Export
audit-export-hint = This command fetches everything that matches as CSV. It asks for your password; an access token that may read the API works as well.
audit-verify = Check the record
audit-verify-title = Is the record whole?
audit-verify-whole = Whole: nobody changed it
audit-verify-partly = So far nothing was changed. There is more to check.
audit-verify-bad = The record was changed at position { $name }.
audit-verify-until = Checked up to position
audit-verify-pending = Not linked yet
audit-verify-on = Go on
audit-verify-hint = Every entry carries the hash of the one before. Who changes or removes one breaks the chain.

settings-title = Settings
settings-access = Access
settings-limits = Limits and times
settings-banner = Message to everybody
setting-creation = New projects may be made by
setting-creation-everyone = Everybody who can sign in
setting-creation-admins = Administrators
setting-read-only = Read-only mode
setting-read-only-hint = Nothing can be pushed, deleted or changed; pulling works.
setting-requests = Requests for projects
setting-requests-hint = People may ask for projects, and administrators decide.
setting-quotas = Enforce quotas
setting-quotas-hint = What is used is counted either way.
setting-pulls = Record pulls
setting-pulls-hint = Pulls are entries of the audit log. Every other act is always recorded.
setting-limit = Storage limit of new projects (GiB)
setting-limit-hint = Projects that exist keep theirs.
setting-session = Sign out after (minutes)
setting-session-hint = Without a request. Sessions end after twelve hours in any case; those that exist keep theirs.
setting-restore = Keep deleted artifacts (days)
setting-restore-hint = So long they can be restored.
setting-robot = Lifetime of robot accounts (days)
setting-robot-hint = When nothing else is asked for.
setting-token = Lifetime of registry tokens (minutes)
setting-token-hint = Clients fetch them by themselves.
setting-number-bad = This is no whole number.
setting-banner = Message
setting-banner-hint = Stands at the top of every page, for visitors as well. Empty for none.
setting-banner-kind = Kind
setting-banner-from = From this day
setting-banner-to = Until this day
setting-empty = empty
setting-from-default = Default.
setting-from-here = Set here; the default is: { $name }.
setting-from-start = Set at the start by { $name } or the configuration file; a change needs a restart.
banner-info = Information
banner-success = Good news
banner-warning = Warning
banner-danger = Danger
told-settings-saved = The settings were saved.

health-title = Health
health-part = Component
health-state = State
health-latency = Answered in
health-detail = Details
health-ok = works
health-warn = needs attention
health-bad = does not work
health-database = Database
health-database-remedy = The database does not answer. Look at its log and at the connection in the configuration.
health-feed = Revocations
health-feed-remedy = This process has not heard of revocations for five seconds and asks the database every time. Look at the connection to the database.
health-storage = Blob storage
health-storage-remedy = The store cannot be written or read. Look at the file system or the bucket, and at the log.
health-room = Free room
health-room-remedy = Make room or add some: delete what is not needed, or enlarge the volume.
health-jobs = Job queue
