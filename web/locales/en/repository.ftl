# Repositories, tags and artifacts.

repository-tab-artifacts = Artifacts
repository-tab-history = History
repository-tab-about = About
repository-tab-settings = Settings

repository-tags-count = { $count ->
    [one] { $count } tag
   *[other] { $count } tags
}
repository-artifacts-count = { $count ->
    [one] { $count } artifact
   *[other] { $count } artifacts
}
repository-pulls-count = { $count ->
    [one] pulled { $count } time
   *[other] pulled { $count } times
}
repository-bytes = { $name } of content
repository-last-push = Last push

repository-pull = Pull command
repository-by-tag = by tag
repository-by-digest = by digest
repository-copy-digest = Copy digest { $name }
repository-copy-command = Copy the command for { $name }

repository-tags-of = Tags of { $name }
repository-no-tag-matches = No tag matches “{ $name }”.
repository-show-untagged-link = Show artifacts without a tag
repository-select = Select
repository-select-tag = Select { $name }
repository-by-version = by version
repository-platforms = Platforms
repository-platform = Platform
repository-pulled = Pulled
repository-pushed = pushed
repository-never = never
repository-same-as = same image as { $name }
repository-same-as-more = same image as { $name } +{ $other }
repository-delete-selected = Delete selected tags…
repository-delete-selected-hint = The next page shows what that means.

repository-label-platforms = Platforms:
repository-label-size = Size:
repository-label-pushed = Pushed:
repository-label-pulled = Pulled:
repository-label-pulls = Pulls:
repository-label-tags = Tags:
repository-label-artifacts = Artifacts:
repository-label-last-push = Last push:
repository-label-digest = Digest:
repository-label-afterwards = Afterwards:
repository-label-change = Change:
repository-label-from-to = From, to:
repository-label-when = When:
repository-label-who = Who:
repository-label-restore = Restore:
repository-label-kind = Kind:
repository-label-attached = Attached:
repository-label-command = Command:
repository-label-share = Share:

repository-delete-tags-title = Delete tags
repository-delete-tags-heading = { $count ->
    [0] These tags stay
    [one] Delete { $count } tag?
   *[other] Delete { $count } tags?
}
repository-delete-tags-button = { $count ->
    [one] Delete { $count } tag
   *[other] Delete { $count } tags
}
repository-afterwards = Afterwards
repository-becomes-untagged = The artifact has no tag any more
repository-stays-as = The artifact stays as { $name }
repository-nothing-untagged = Every artifact keeps another tag. No space becomes free.
repository-untagged-bytes = { $count ->
    [one] { $count } artifact of { $size } loses its last tag. It can still be pulled by its digest.
   *[other] { $count } artifacts of { $size } together lose their last tag. They can still be pulled by their digests.
}
repository-restorable-until = The tags can be restored from the history until { $name }.
repository-tags-kept = Protected by a rule, so it stays: { $name }
repository-tags-immutable = A rule of the project makes this immutable: { $name }. Nothing was changed.
told-tags-none = No tag was selected.
told-tags-gone = Nothing was deleted: the tags were gone, or had moved meanwhile.
told-tag-deleted = Tag { $name } was deleted.
told-tags-deleted = { $count } tags were deleted.

repository-history-empty = Nothing has happened yet.
repository-history-of = Changes of tag { $name }.
repository-history-all = Show all tags
repository-change = Change
repository-change-create = created
repository-change-move = moved
repository-change-delete = deleted
repository-change-restore = restored
repository-from-to = From → to
repository-when = When
repository-who = Who
repository-restore-column = Restore
repository-restore = Restore
repository-restore-label = Restore { $name } to { $other }
repository-kept-until = kept until { $name }
repository-not-kept = no longer kept
repository-restore-title = Restore a tag
repository-restore-heading = Restore tag { $name }?
repository-restore-taken = Tag { $name } exists and names another artifact now. Nothing was changed.
repository-restore-what = It will name { $name } again. What it names now stays, and the history remembers it.
repository-restore-move = Move { $name }
told-tag-restored = Tag { $name } was restored.
told-tags-restored = { $count } tags were restored.

repository-show = Show
repository-show-usual = Images and charts
repository-show-tagged = Tagged
repository-show-untagged = Untagged
repository-show-all = Everything
repository-filter-digest = Filter by digest
repository-artifacts-empty = No artifacts.
repository-kind = Kind
repository-kind-image = Image
repository-kind-index = Image index
repository-kind-chart = Helm chart
repository-kind-wasm = WASM
repository-kind-cnab = CNAB bundle
repository-kind-model = AI model
repository-kind-sbom = SBOM
repository-kind-other = Other
repository-untagged = no tag
repository-attached = Attached
repository-attached-cosign = Signature (cosign)
repository-attached-notation = Signature (notation)
repository-attached-sbom = SBOM
repository-attached-other = Attachment
repository-attached-empty = Nothing is attached to this artifact.

repository-part-of = Part of
repository-new-tag = New tag
repository-add-tag = Add tag
repository-remove = Remove
repository-remove-tag = Remove tag { $name }
repository-tag-invalid = A tag has at most 128 letters, digits and . _ -, and begins with a letter, a digit or _.
repository-tag-taken = Tag { $name } exists already.
told-tag-added = Tag { $name } was added.
told-tag-warned = The tag was added. A naming rule warns: { $name }
repository-use = Use this exact image
repository-attestations = { $count ->
    [one] { $count } attestation
   *[other] { $count } attestations
}
repository-attestations-title = Attestations
repository-more-parts = { $count ->
    [one] { $count } more part is not shown.
   *[other] { $count } more parts are not shown.
}
repository-not-stored = not stored here
repository-parts-count = { $count ->
    [one] { $count } part
   *[other] { $count } parts
}
repository-layers = Layers
repository-command = Command
repository-share = Share
repository-share-of = { $name } of { $other }
repository-empty-layer = no bytes
repository-layers-total = { $name } in all layers, compressed.
repository-more-layers = { $count ->
    [one] { $count } more step is not shown.
   *[other] { $count } more steps are not shown.
}
repository-config = Configuration
repository-built = Built
repository-author = Author
repository-user = User
repository-runs-as-root = runs as root
repository-workdir = Working directory
repository-ports = Ports
repository-volumes = Volumes
repository-healthcheck = Health check
repository-stop-signal = Stop signal
repository-environment = Environment
repository-secret = (hidden, open to show)
repository-config-labels = Labels of the image
repository-annotations = Annotations
repository-annotations-more = { $count ->
    [one] { $count } other annotation
   *[other] { $count } other annotations
}
repository-origin-source = Source
repository-origin-url = Website
repository-origin-documentation = Documentation
repository-origin-revision = Revision
repository-origin-version = Version
repository-origin-licenses = Licences
repository-origin-vendor = Vendor
repository-origin-base = Base image
repository-manifest = Manifest
repository-manifest-show = Show the manifest
repository-manifest-download = Download the manifest
repository-files-title = Files of the chart
repository-files-open = README and values
repository-files-none = The chart has no such file.

repository-delete-artifact-title = Delete artifact
repository-delete-artifact-heading = Delete { $name }?
repository-delete-artifact-link = Delete artifact…
repository-delete-artifact-button = Delete artifact
repository-delete-in-index = It is part of the index { $name }. Delete that one first.
repository-tags-go = These tags go with it:
repository-no-tags-go = No tag names it.
repository-attached-goes = { $count ->
    [one] { $count } attached artifact goes with it.
   *[other] { $count } attached artifacts go with it.
}
repository-parts-stay = Its parts stay, and can be pulled by their digests.
told-artifact-deleted = Artifact { $name } was deleted.

repository-about-empty = Nobody has written yet what this repository is for.
repository-edit = Edit description
repository-edit-title = Edit description
repository-description = Description
repository-description-hint = Markdown. The first line stands beside the name of the repository.
repository-edit-long = The description is longer than { $count } KiB.
repository-save = Save
told-repository-described = The description of { $name } was saved.

repository-numbers = Numbers
repository-delete-title = Delete repository
repository-delete-hint = Deletes all tags and artifacts of the repository. The next page shows how many.
repository-delete-link = Delete repository…
repository-delete-heading = Delete { $name }?
repository-delete-button = Delete repository
repository-delete-forever = This cannot be undone.
repository-delete-type = Type { $name } to confirm
repository-delete-mistyped = That is not the name of the repository. Nothing was deleted.
repository-delete-immutable = Tag { $name } is immutable by a rule of the project. Nothing was deleted.
told-repository-deleted = Repository { $name } was deleted.

repository-missing = There is no “{ $name }”.
repository-did-you-mean = Did you mean one of these?
