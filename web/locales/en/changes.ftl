# Labels
project-tab-labels = Labels
labels-title = Labels
labels-filter = Filter labels
labels-empty = No labels yet. A label marks artifacts for people: “tested”, “keep”, “on site”.
labels-hint-project = Labels for artifacts of this project. Those of the installation can be used here, too.
labels-hint-system = Labels for artifacts of every project. Projects have labels of their own on their Labels page.
label-new-title = New label
label-create = Create label
label-name-hint = 1 to 128 characters. The name tells labels apart; the colour only helps to find them.
label-description = Description
label-description-label = Description:
label-description-hint = Optional. What the label means.
label-created-label = Created:
label-color = Colour
label-blue = Blue
label-teal = Teal
label-green = Green
label-amber = Amber
label-red = Red
label-pink = Pink
label-purple = Purple
label-grey = Grey
label-other = Another
label-other-color = Another colour
label-other-hint = Counts only with “Another”. As in #0065AB, or its English name; empty for none.
label-actions = Actions
label-edit = Edit
label-edit-title = Edit { $name }
label-delete = Delete…
label-delete-title = Delete { $name }
label-delete-unused = No artifact wears this label.
label-delete-what = { $count ->
    [one] It is taken off { $count } artifact. The artifact stays.
   *[other] It is taken off { $count } artifacts. The artifacts stay.
  }
label-taken = There is a label of this name already.
label-name-bad = The name has 1 to 128 characters.
label-description-long = The description has at most 4096 bytes.
label-color-bad = Write the colour as in #0065AB, or its English name.
label-none = No label yet.
label-add-which = Label
label-add = Add label
label-remove = Remove
label-remove-one = Remove the label { $name }
label-unknown = Neither this project nor the installation has a label { $name }.
label-worn = The artifact wears the label { $name } already.
told-label-created = The label { $name } was created.
told-label-saved = The label { $name } was saved.
told-label-deleted = The label { $name } was deleted.
told-label-added = The label { $name } was added.
told-label-removed = The label { $name } was removed.

# Two people at the same form
clash-title = What is stored now, and what you typed
clash-what = Somebody else changed this after you opened the form. Nothing of yours is stored yet.
clash-next = Compare, change the form if need be, and save again: your values then replace theirs.
clash-field = Field
clash-stored = Stored now
clash-typed = Typed by you
clash-stored-label = Stored now:
clash-typed-label = Typed by you:

# Robots that are there
robot-edit = Edit
robot-edit-what = Purpose, end and rights can be changed; the secret stays.
robot-edit-title = Edit { $name }
robot-expiry-keep = As it is
robot-expiry-now = It ends at { $name }.
robot-expiry-now-never = It never ends.
robot-expiry-days = { $count ->
    [one] { $count } day from now
   *[other] { $count } days from now
  }
robot-right = { $name }: { $other }
robot-rights-elsewhere = This robot has other rights in each of its projects. They are shown on its page, stay as they are and can be changed over the API.
told-robot-saved = { $name } was saved. New rights count within five seconds.

# Settings
setting-prefix = Prefix of robot names
setting-prefix-hint = What the REST API and the token service put before names of robots. Robots that exist get it, too; “robot+” always works.
setting-prefix-bad = The prefix has 1 to 32 characters: lower-case letters, digits and $ + . _ -

# Signing in again in the middle of a form
login-ended = Your session has ended. Sign in again; what you sent was not stored, and was too long to be kept here.
login-ended-kept = Your session has ended. Sign in again: what you typed is kept and can be sent afterwards.
draft-title = What you typed
draft-what = Your session had ended when you sent this form, so nothing was stored. Look through what you typed and send it now.
draft-secrets = Passwords are never kept. If the form had one, type it again on the next page.
draft-send = Send
draft-drop = Do not send

# Errors
error-changed-what = Something else came first
error-changed-why = What you wanted to change is not what it was when you opened the page. Nothing was changed.
error-changed-next = Go back, load the page again and look at what there is now.
error-gone-what = This is gone
error-gone-why = It was deleted, and the time in which it could be restored is over.
error-gone-next = Push it again, from wherever it still is.
error-large-what = This is too much for one form
error-large-why = A form may carry 256 KiB. Nothing was changed.
error-large-next = Go back and send less.
error-wait-next = { $count ->
    [one] Try again in { $count } second.
   *[other] Try again in { $count } seconds.
  }
error-copy = Copy the number of this request
