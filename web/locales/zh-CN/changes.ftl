# 标签
project-tab-labels = 标签
labels-title = 标签
labels-filter = 筛选标签
labels-empty = 还没有标签。标签用来为制品做标记，例如“已测试”“保留”“现场”。
labels-hint-project = 用于此项目制品的标签。系统级标签在这里也可以使用。
labels-hint-system = 可用于所有项目制品的标签。各项目自己的标签在项目的“标签”页面。
label-new-title = 新建标签
label-create = 创建标签
label-name-hint = 1 到 128 个字符。标签以名称区分，颜色只是便于查找。
label-description = 说明
label-description-label = 说明：
label-description-hint = 可选。标签的含义。
label-created-label = 创建时间：
label-color = 颜色
label-blue = 蓝色
label-teal = 青色
label-green = 绿色
label-amber = 琥珀色
label-red = 红色
label-pink = 粉色
label-purple = 紫色
label-grey = 灰色
label-other = 其他
label-other-color = 其他颜色
label-other-hint = 仅在选择“其他”时生效。格式如 #0065AB，或颜色的英文名称；留空表示无颜色。
label-actions = 操作
label-edit = 编辑
label-edit-title = 编辑 { $name }
label-delete = 删除…
label-delete-title = 删除 { $name }
label-delete-unused = 没有制品使用此标签。
label-delete-what = 将从 { $count } 个制品上移除此标签，制品本身会保留。
label-taken = 已存在同名标签。
label-name-bad = 名称须为 1 到 128 个字符。
label-description-long = 说明最多 4096 字节。
label-color-bad = 请按 #0065AB 的格式填写颜色，或填写其英文名称。
label-none = 还没有标签。
label-add-which = 标签
label-add = 添加标签
label-remove = 移除
label-remove-one = 移除标签 { $name }
label-unknown = 此项目和系统中都没有标签 { $name }。
label-worn = 该制品已有标签 { $name }。
told-label-created = 已创建标签 { $name }。
told-label-saved = 已保存标签 { $name }。
told-label-deleted = 已删除标签 { $name }。
told-label-added = 已添加标签 { $name }。
told-label-removed = 已移除标签 { $name }。

# 两个人同时修改
clash-title = 当前保存的内容与你填写的内容
clash-what = 你打开表单之后，其他人修改了这里。你的修改尚未保存。
clash-next = 请对比两者，必要时修改表单，然后再次保存：你的内容将替换对方的内容。
clash-field = 字段
clash-stored = 当前保存
clash-typed = 你填写的
clash-stored-label = 当前保存：
clash-typed-label = 你填写的：

# 已有的机器人账户
robot-edit = 编辑
robot-edit-what = 可以修改用途、到期时间和权限，密钥不变。
robot-edit-title = 编辑 { $name }
robot-expiry-keep = 保持不变
robot-expiry-now = 当前到期时间：{ $name }。
robot-expiry-now-never = 当前永不到期。
robot-expiry-days = 从现在起 { $count } 天
robot-right = { $name }：{ $other }
robot-rights-elsewhere = 此机器人账户在不同项目中的权限不同。权限显示在其页面上，保持不变，可以通过 API 修改。
told-robot-saved = 已保存 { $name }。新权限将在五秒内生效。

# 设置
setting-prefix = 机器人账户名称前缀
setting-prefix-hint = REST API 和令牌服务在机器人账户名称前使用的前缀，对已有账户同样生效；“robot+”始终可用。
setting-prefix-bad = 前缀须为 1 到 32 个字符：小写字母、数字和 $ + . _ -

# 填写表单期间重新登录
login-ended = 会话已结束，请重新登录。刚才提交的内容没有保存，且因过长无法在此保留。
login-ended-kept = 会话已结束，请重新登录。你填写的内容已保留，登录后可以再次提交。
draft-title = 你填写的内容
draft-what = 提交此表单时会话已结束，因此没有保存任何内容。请检查你填写的内容，然后重新提交。
draft-secrets = 密码不会保留。如果表单中有密码，请在下一页重新输入。
draft-send = 提交
draft-drop = 不提交

# 错误
error-changed-what = 内容已被更改
error-changed-why = 你打开页面之后，要更改的内容已经不同。没有进行任何更改。
error-changed-next = 请返回并重新加载页面，查看当前内容。
error-gone-what = 内容已不存在
error-gone-why = 它已被删除，且已超过可恢复的期限。
error-gone-next = 请从仍保留它的地方重新推送。
error-large-what = 提交的内容过大
error-large-why = 一个表单最多 256 KiB。没有进行任何更改。
error-large-next = 请返回并减少内容后再提交。
error-wait-next = 请在 { $count } 秒后重试。
error-copy = 复制此请求的编号
